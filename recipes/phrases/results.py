"""The results of an evaluation, and their form in results.json."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Percent:
    """A value in percent with its 95 % interval; a computed chance level has none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Recall:
    """Recall among `num_phrases` phrases."""

    num_phrases: int
    at_1: Percent
    at_5: Percent


@dataclass(frozen=True)
class RetrievalResult:
    """Recall of a method in a language: among all phrases, and among up to 200 short ones."""

    language: str
    method: str
    all: Recall | None = None
    short: Recall | None = None


@dataclass(frozen=True)
class NumberWordsResult:
    """Which of a speaker's number words a method recognizes: 1.0 or 0.0 for each recording."""

    language: str
    speaker: str
    method: str
    right: list[float]


@dataclass(frozen=True)
class RobustnessResult:
    """R@1 of a method in a language where one of the two speakers' clips are changed (see robustness.py)."""

    language: str
    condition: str
    method: str
    at_1: Percent


@dataclass(frozen=True)
class PhraseResults:
    retrieval: list[RetrievalResult]
    number_words: list[NumberWordsResult]
    robustness: list[RobustnessResult]

    def to_json(self) -> dict:
        """The keys `phrases`, `number_words` and `robustness` of results.json."""
        return {
            "phrases": [_retrieval_to_json(result) for result in self.retrieval],
            "number_words": [asdict(result) for result in self.number_words],
            "robustness": [asdict(each) | {"at_1": percent_to_json(each.at_1)} for each in self.robustness],
        }


def read_results(path: Path) -> PhraseResults:
    data = json.loads(path.read_text(encoding="utf-8"))
    retrieval = [
        RetrievalResult(row["language"], row["method"], _recall(row.get("all")), _recall(row.get("short")))
        for row in data["phrases"]
    ]
    robustness = [RobustnessResult(**(row | {"at_1": Percent(**row["at_1"])})) for row in data["robustness"]]
    return PhraseResults(retrieval, [NumberWordsResult(**row) for row in data["number_words"]], robustness)


def percent_to_json(percent: Percent) -> dict[str, float]:
    return {name: value for name, value in asdict(percent).items() if value is not None}


def _retrieval_to_json(result):
    row = {"language": result.language, "method": result.method}
    for name, recall in (("all", result.all), ("short", result.short)):
        if recall:
            row[name] = {
                "N": recall.num_phrases,
                "R@1": percent_to_json(recall.at_1),
                "R@5": percent_to_json(recall.at_5),
            }
    return row


def _recall(data):
    return Recall(data["N"], Percent(**data["R@1"]), Percent(**data["R@5"])) if data else None

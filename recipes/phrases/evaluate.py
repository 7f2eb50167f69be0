"""Measures checkpoints zero-shot: no speaker of the test was heard in training, and no Italian.

    python -m recipes.phrases.prepare
    python -m recipes.phrases.evaluate checkpoints/phrases     # one or more checkpoints, compared with the baselines

Retrieval: R@1 and R@5 in percent over both directions, among all phrases that both speakers recorded, and among up to
200 of them under 3 s (the same ones for all methods), on which dynamic time warping is feasible. Intervals are 95 %
bootstrap intervals over phrases. All methods get recordings trimmed by their energy. Baselines: chance; the mean cosine
of 8 segments of MFCCs; dynamic time warping of MFCCs by their cosine distance, divided by the lengths. The last is the
best of eight kinds on these test pairs themselves (with or without c0 and unit variances, Euclidean distance).

Robustness: the same retrieval, with the clips of one speaker changed (see robustness.py), by each checkpoint as it is
and with `trim_top_db=35`.

One segment: the mean of a model's 8 segments. Frozen Whisper encoders, if given, are averaged over the same 8
segments: as they are, standardised by training recordings, and with the projection that `teacher` fitted on pairs. They
heard many languages in their own training, Italian too.

Number words: a recording of a number (0 to 19, 20, 30, ... 90) is compared with synthesized clips of each of the 28
numbers of its language by 8 espeak-ng voices, by the mean of the 8 similarities. Eight recordings by seven people, in
five languages.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError
from modeling_audio_branch.hub.writing import replaced_file

from .audio import TOP_DB
from .baselines import OneSegment, whisper_baselines
from .embedding import load_model
from .number_words import evaluate_number_words
from .report import number_words_percent, print_results
from .results import PhraseResults, percent_to_json
from .retrieval import evaluate_retrieval
from .robustness import evaluate_robustness

TRIMMED = f"trim_top_db={TOP_DB}"


def evaluate(
    checkpoints: dict[str, str | Path],
    with_dtw: bool = True,
    whisper: Sequence[str] = (),
    with_robustness: bool = True,
) -> PhraseResults:
    """Measures checkpoints, given by the names that the results call them, and frozen Whispers (FOLDER:LAYER)."""
    models, robustness = {name: load_model(path) for name, path in checkpoints.items()}, []
    if with_robustness:
        trimming = {f"{name}, {TRIMMED}": load_model(path, trim_top_db=TOP_DB) for name, path in checkpoints.items()}
        robustness = evaluate_robustness(models | trimming)
    models |= {f"{name}, one segment": OneSegment(model) for name, model in models.items()}
    for each in whisper:
        models |= whisper_baselines(each)
    return PhraseResults(evaluate_retrieval(models, with_dtw), evaluate_number_words(models, with_dtw), robustness)


def write_results(results: PhraseResults, method: str, path: Path) -> None:
    """Writes results.json with the metrics of one method, as `audio-branch push --metrics` reads it."""
    metrics = {}
    for row in results.retrieval:
        if row.method == method:
            metrics[f"R@1 {row.language}"] = percent_to_json(row.all.at_1)
            metrics[f"R@5 {row.language}"] = percent_to_json(row.all.at_5)
    metrics["number words"] = percent_to_json(number_words_percent(results.number_words, method))
    about = {
        "dataset": {
            "name": "phrases of two speakers of asterisk",
            "license": "CC-BY, CC-BY-SA, BSD, GPL-2, by speaker",
        },
        "protocol": "zero-shot: the same phrase by the other speaker among all phrases, both directions; percent",
        "folds": 1,
        "interval": "95 % bootstrap of phrases",
        "hardware": f"{torch.get_num_threads()} CPU cores",
        "metrics": metrics,
        "training_data": {"name": "free texts, by espeak-ng, Kokoro-82M and flite", "license": "free, by source"},
        "versions": {"torch": torch.__version__},
    }
    with replaced_file(path) as file:
        file.write_text(json.dumps(about | results.to_json(), indent=1) + "\n", encoding="utf-8")


def main(
    checkpoints: Annotated[list[Path], typer.Argument(help="Folders of checkpoints; the metrics are the first's")],
    dtw: Annotated[bool, typer.Option(help="Also measure dynamic time warping")] = True,
    whisper: Annotated[list[str], typer.Option(help="FOLDER:LAYER of frozen Whisper encoders; -1: the last")] = [],  # noqa: B006
    robustness: Annotated[bool, typer.Option(help="Also measure changed clips, 20 times the work")] = True,
    output: Annotated[Path, typer.Option(help="File of the results")] = Path("outputs/phrases_results.json"),
) -> None:
    """Measures checkpoints on phrases and number words of speakers whom they never heard."""
    results = evaluate({str(path): path for path in checkpoints}, dtw, whisper, robustness)
    print_results(results)
    with exit_on_error(DiskError):
        write_results(results, str(checkpoints[0]), output)


if __name__ == "__main__":
    typer.run(main)

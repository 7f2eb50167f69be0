"""Zero-shot: given a spoken phrase, find the recording of the same phrase by another speaker, both never heard before.

    python examples/phrases_data.py                             # installs the recordings
    python examples/evaluate_phrases.py checkpoints/phrases     # one or more checkpoints, beside the baselines

Italian was in no training data. R@1 and R@5 in percent over both directions, on all phrases that both people recorded,
and on up to 200 of them under 3 s (the same for all methods), on which dynamic time warping is feasible; the interval
is a 95 % bootstrap over phrases. Recordings are trimmed by their energy for all methods alike. Baselines: chance, the
mean cosine of 8 segments of MFCCs, and dynamic time warping of MFCCs by their cosine distance, normalised by length:
the best of eight kinds (with or without c0 and equal variances, Euclid's distance) on these test pairs themselves.

Number words: a recording of a number (0 to 20, 30, ... 90) is compared with 8 espeak-ng voices' renderings of each of
the 28 numbers of its language, by the mean of the 8 likenesses. Eight recordings by seven people, in five languages.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from phrases_data import NUMBERS, PAIRS, RATE, Espeak, recordings, speech, test_pairs
from pretrain_phrases import embed, found, read, similarity
from warping import mfcc, warping_cost

from modeling_audio_branch import AudioBranchModel

WARPING = "dynamic time warping"
NUMBER_SPEAKERS = {"en": ["asterisk-core-sounds-en-g722"], **PAIRS, "ru": ["asterisk-core-sounds-ru-g722"]}


def mfcc_segments(clip: np.ndarray) -> torch.Tensor:
    pooled = F.adaptive_avg_pool1d(mfcc(clip).T, 8).T
    return F.normalize(pooled, dim=-1)


def warping_scores(first: list[np.ndarray], second: list[np.ndarray]) -> torch.Tensor:
    queries, keys = [mfcc(clip) for clip in first], [mfcc(clip) for clip in second]
    padded = torch.nn.utils.rnn.pad_sequence(keys, batch_first=True)
    lengths = torch.tensor([len(key) for key in keys])
    each = track(queries, "Dynamic time warping", transient=True)
    return -torch.stack([warping_cost(query, padded, lengths) for query in each])


def percent(hits: torch.Tensor, seed: int = 0) -> dict[str, float]:
    """The mean of (N,) numbers from 0 to 1, in percent, with a 95 % bootstrap interval over them."""
    draws = torch.randint(len(hits), (1000, len(hits)), generator=torch.Generator().manual_seed(seed))
    low, high = hits[draws].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return {"value": 100 * hits.mean().item(), "low": 100 * low, "high": 100 * high}


def measure(scores: torch.Tensor) -> dict:
    """R@1 and R@5 of scores (N, N), whose diagonal is right, over both directions."""
    return {"N": len(scores)} | {f"R@{k}": percent(found(scores, k)) for k in (1, 5)}


def load(language: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    sides = ([], [])
    for paths in test_pairs(language):
        clips = [read(path) for path in paths]
        if min(map(len, clips)) >= 0.1 * RATE:
            for side, clip in zip(sides, clips, strict=True):
                side.append(clip)
    return sides


def number_words(models: dict, with_warping: bool, templates: int = 8) -> list[dict]:
    """Which of the recorded number words are likest to their own renderings, by language, speaker and method."""
    espeak, generator, results = Espeak(), random.Random(0), []
    for language in NUMBER_SPEAKERS:
        voices = generator.sample(espeak.variants, templates)
        rendered = [espeak.say(str(n), language + v, generator.randint(130, 200), 50) for n in NUMBERS for v in voices]
        rendered = [speech(clip) for clip in rendered]
        keys = {name: embed(model, rendered) for name, model in models.items()}
        for package in NUMBER_SPEAKERS[language]:
            spoken = recordings(package)
            spoken = {number: read(spoken[f"digits/{number}"]) for number in NUMBERS if f"digits/{number}" in spoken}
            clips = [*spoken.values()]
            scores = {name: similarity(embed(model, clips), keys[name]) for name, model in models.items()}
            if with_warping:
                scores[WARPING] = warping_scores(clips, rendered)
            for name, each in scores.items():
                made = each.unflatten(1, (len(NUMBERS), templates)).mean(2).argmax(1).tolist()
                right = [float(NUMBERS[index] == number) for index, number in zip(made, spoken, strict=True)]
                results.append({"language": language, "speaker": package, "method": name, "right": right})
    return results


def phrases(models: dict, with_warping: bool) -> list[dict]:
    """Retrieval on the test pairs by language and method: all pairs, and up to 200 short ones."""
    results = []
    for language in PAIRS:
        first, second = load(language)
        short = [i for i in range(len(first)) if max(len(first[i]), len(second[i])) < 3 * RATE]
        order = torch.randperm(len(short), generator=torch.Generator().manual_seed(0))[:200]
        subset = [short[i] for i in order.tolist()]
        scores = {name: similarity(embed(model, first), embed(model, second)) for name, model in models.items()}
        scores["MFCC, 8 segments"] = similarity(*(torch.stack([*map(mfcc_segments, side)]) for side in (first, second)))
        for name, each in scores.items():
            made = {"all": measure(each), "short": measure(each[subset][:, subset])}
            results.append({"language": language, "method": name} | made)
        if with_warping:
            warped = warping_scores([first[i] for i in subset], [second[i] for i in subset])
            results.append({"language": language, "method": WARPING, "short": measure(warped)})
        chance = {"N": len(first), "R@1": {"value": 100 / len(first)}, "R@5": {"value": 500 / len(first)}}
        results.append({"language": language, "method": "chance", "all": chance})
    return results


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--no-warping", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("outputs/phrases_results.json"))
    arguments = parser.parse_args(argv)
    models = {str(path): AudioBranchModel.from_pretrained(path).eval() for path in arguments.checkpoints}
    retrieved = phrases(models, not arguments.no_warping)
    numbers = number_words(models, not arguments.no_warping)

    table = Table(title="Same phrase, other speaker: R@1 / R@5 in percent (95 % interval of R@1)")
    for column in ("language", "method", "all phrases", "short phrases"):
        table.add_column(column)
    for row in retrieved:
        table.add_row(row["language"], row["method"], *(cell(row.get(part)) for part in ("all", "short")))
    console = Console(width=max(120, Console().width))
    console.print(table)
    methods = list(dict.fromkeys(row["method"] for row in numbers))
    table = Table("speaker", *methods, title="Number words: percent right (chance 3.6)")
    for speaker in dict.fromkeys(row["speaker"] for row in numbers):
        of = {row["method"]: row["right"] for row in numbers if row["speaker"] == speaker}
        table.add_row(speaker, *(f"{100 * np.mean(of[method]):.1f}" for method in methods))
    words = {
        name: percent(torch.tensor(sum((r["right"] for r in numbers if r["method"] == name), []))) for name in methods
    }
    table.add_row("all", *map(with_interval, words.values()), style="bold")
    console.print(table)

    name = str(arguments.checkpoints[0])
    metrics = {
        f"R@{k} {row['language']}": row["all"][f"R@{k}"] for row in retrieved if row["method"] == name for k in (1, 5)
    }
    about = {
        "dataset": {
            "name": "phrases of two speakers of asterisk",
            "license": "CC-BY, CC-BY-SA, BSD, GPL-2, by speaker",
        },
        "protocol": "zero-shot: the same phrase by the other speaker among all phrases, both directions; percent",
        "folds": 1,
        "interval": "95 % bootstrap of phrases",
        "hardware": f"{torch.get_num_threads()} CPU cores",
        "metrics": metrics | {"number words": words[name]},
        "training_data": {"name": "Fish Fillets and Tux Paint recordings, espeak-ng", "license": "GPL-2"},
        "versions": {"torch": torch.__version__},
        "phrases": retrieved,
        "number_words": numbers,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(about, indent=1), encoding="utf-8")


def with_interval(number: dict) -> str:
    return f"{number['value']:.1f}" + (f" ({number['low']:.1f} to {number['high']:.1f})" if "low" in number else "")


def cell(part: dict | None) -> str:
    return f"{with_interval(part['R@1'])} / {part['R@5']['value']:.1f}, N = {part['N']}" if part else ""


if __name__ == "__main__":
    main()

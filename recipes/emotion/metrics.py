"""Figures of a classifier of speech, with an interval that knows that clips of one speaker are alike.

UA is the unweighted accuracy (mean recall of the labels), WA the weighted one (plain accuracy), as the literature on
emotion calls them.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, confusion_matrix, f1_score, recall_score

NAMES = {"UA": "unweighted_accuracy", "WA": "weighted_accuracy", "macro-F1": "macro_f1"}


def figures(right: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """UA, WA and macro-F1 over the labels that occur in `right`; arrays (N,) of label numbers."""
    present = np.unique(right)
    return {
        "UA": float(recall_score(right, predicted, labels=present, average="macro", zero_division=0)),
        "WA": float(accuracy_score(right, predicted)),
        "macro-F1": float(f1_score(right, predicted, labels=present, average="macro", zero_division=0)),
    }


def with_intervals(right, predicted, speakers, draws: int = 1000, seed: int = 0) -> dict[str, dict[str, float]]:
    """`figures` with 95 % intervals: a bootstrap that draws whole speakers (N,), or clips where a speaker is None."""
    right, predicted = np.asarray(right), np.asarray(predicted)
    groups = {}
    for place, speaker in enumerate(speakers):
        groups.setdefault(place if speaker is None else speaker, []).append(place)
    groups, generator = list(groups.values()), np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        places = np.concatenate([groups[each] for each in generator.integers(len(groups), size=len(groups))])
        drawn.append(figures(right[places], predicted[places]))
    result = {}
    for name, value in figures(right, predicted).items():
        low, high = np.quantile([each[name] for each in drawn], [0.025, 0.975])
        # With few speakers the value itself may lie outside of what the draws give.
        result[name] = {"value": value, "low": float(min(low, value)), "high": float(max(high, value))}
    return result


def by_speaker(right, predicted, speakers) -> dict[str, float]:
    """The accuracy for each speaker; speakers who are None are passed over."""
    right, predicted, speakers = np.asarray(right), np.asarray(predicted), np.asarray(speakers, dtype=object)
    names = sorted({each for each in speakers if each is not None})
    return {name: float((right == predicted)[speakers == name].mean()) for name in names}


def write_report(folder: Path, right, predicted, speakers, labels: list[str], about: dict) -> dict:
    """Writes results.json (as hub_upload.py takes it), report.md and confusion.png; returns the results.

    Args:
        right, predicted: (N,) label numbers of the test clips of all folds.
        speakers: (N,) who speaks, or None.
        labels: Names of the labels.
        about: `dataset`, `training_data`, `protocol`, `folds`, `seeds`, and what else belongs in results.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores, accuracies = with_intervals(right, predicted, speakers), by_speaker(right, predicted, speakers)
    matrix = confusion_matrix(right, predicted, labels=range(len(labels)))
    versions = {name: version(name) for name in ("torch", "transformers", "scikit-learn", "soundfile")}
    results = about | {
        "metrics": {NAMES[name]: numbers for name, numbers in scores.items()},
        "interval": "95 % bootstrap of speakers" if accuracies else "95 % bootstrap of clips (no speakers are known)",
        "clips": len(right),
        "accuracy_by_speaker": accuracies,
        "labels": labels,
        "confusion": matrix.tolist(),
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{torch.get_num_threads()} CPU cores",
        "versions": versions | {"Python": platform.python_version()},
        "decoder": f"libsndfile {soundfile.__libsndfile_version__}",
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")

    figure, axes = plt.subplots(figsize=(1 + 0.7 * len(labels), 1 + 0.7 * len(labels)))
    ConfusionMatrixDisplay(matrix, display_labels=labels).plot(ax=axes, colorbar=False, xticks_rotation=45)
    figure.savefig(folder / "confusion.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    lines = [f"# {results['dataset']['name']}", "", f"{results['protocol']}; {results['interval']}.", ""]
    lines += ["| | value | interval |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {each['value']:.3f} | {each['low']:.3f} to {each['high']:.3f} |" for name, each in scores.items()
    ]
    lines += ["", f"| right, down; predicted | {' | '.join(labels)} |", "| --- |" + " --- |" * len(labels)]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(labels, matrix.tolist(), strict=True)]
    if accuracies:
        low, middle, high = np.quantile(list(accuracies.values()), [0, 0.5, 1])
        lines += ["", f"Accuracy of {len(accuracies)} speakers: {low:.2f} to {high:.2f}, median {middle:.2f}."]
    lines += ["", "![Confusion matrix](confusion.png)", ""]
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return results

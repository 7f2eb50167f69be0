"""The report of an evaluation: results.json, which `audio-branch push --metrics` reads, report.md and confusion.png."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from recipes.emotion.metrics import accuracy_by_speaker, bootstrap_ci
from recipes.emotion.settings import TrainingSettings

SHORT_NAMES = {"unweighted_accuracy": "UA", "weighted_accuracy": "WA", "macro_f1": "macro-F1"}


@dataclass
class Evaluation:
    """The predictions of the test clips of all folds, and how they came about.

    Args:
        protocol: How the data was split and which epoch was chosen, in a sentence.
        folds: The folds that were trained and tested.
        seed: Of the splits and the training.
        settings: How each fold was trained.
        labels: Names of the labels.
        targets: (N,) numbers of the true labels.
        predictions: (N,) numbers of the predicted labels.
        speakers: (N,) who speaks; None where that is unknown.
    """

    protocol: str
    folds: list[int]
    seed: int
    settings: TrainingSettings
    labels: list[str]
    targets: list[int]
    predictions: np.ndarray
    speakers: list[str | None]


def write_report(folder: Path, dataset: str, license: str, evaluation: Evaluation) -> dict:
    """Writes results.json, report.md and confusion.png to the folder; returns what results.json holds.

    Args:
        folder: Made if it doesn't exist.
        dataset: Name of the data.
        license: Licence of the data.
        evaluation: The predictions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = to_results(dataset, license, evaluation)
    (folder / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(results), encoding="utf-8")
    draw_confusion(results).savefig(folder / "confusion.png", dpi=120, bbox_inches="tight")
    return results


def to_results(dataset: str, license: str, evaluation: Evaluation) -> dict:
    """The object in results.json."""
    tested = evaluation.targets, evaluation.predictions
    accuracies = accuracy_by_speaker(*tested, evaluation.speakers)
    estimates = bootstrap_ci(*tested, evaluation.speakers)
    data = {"name": dataset, "license": license}
    threads = f"{torch.get_num_threads()} CPU cores"
    versions = {name: version(name) for name in ("torch", "transformers", "scikit-learn", "soundfile")}
    return {
        "dataset": data,
        "training_data": data,
        "folds": len(evaluation.folds),
        "seeds": [evaluation.seed],
        "settings": asdict(evaluation.settings),
        "protocol": evaluation.protocol,
        "metrics": {name: asdict(estimates[short]) for name, short in SHORT_NAMES.items()},
        "interval": "95 % bootstrap of speakers" if accuracies else "95 % bootstrap of clips (no speakers are known)",
        "clips": len(evaluation.targets),
        "accuracy_by_speaker": accuracies,
        "labels": evaluation.labels,
        "confusion": confusion_matrix(*tested, labels=range(len(evaluation.labels))).tolist(),
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else threads,
        "versions": versions | {"Python": platform.python_version()},
        "decoder": f"libsndfile {soundfile.__libsndfile_version__}",
    }


def to_markdown(results: dict) -> str:
    """The text of report.md."""
    labels = results["labels"]
    lines = [f"# {results['dataset']['name']}", "", f"{results['protocol']}; {results['interval']}.", ""]
    lines += ["| metric | value | interval |", "| --- | --- | --- |"]
    lines += [
        f"| {SHORT_NAMES[name]} | {each['value']:.3f} | {each['low']:.3f} to {each['high']:.3f} |"
        for name, each in results["metrics"].items()
    ]
    lines += ["", f"| true label | predicted: {' | '.join(labels)} |", "| --- |" + " --- |" * len(labels)]
    rows = zip(labels, results["confusion"], strict=True)
    lines += [f"| {label} | {' | '.join(map(str, counts))} |" for label, counts in rows]
    if accuracies := results["accuracy_by_speaker"]:
        low, median, high = np.quantile(list(accuracies.values()), [0, 0.5, 1])
        lines += ["", f"Accuracy of {len(accuracies)} speakers: {low:.2f} to {high:.2f}, median {median:.2f}."]
    return "\n".join([*lines, "", "![Confusion matrix](confusion.png)", ""])


def draw_confusion(results: dict) -> Figure:
    """The confusion matrix: a row for each true label, a column for each predicted one."""
    side = 1 + 0.7 * len(results["labels"])  # inches
    figure = Figure(figsize=(side, side))
    matrix = ConfusionMatrixDisplay(np.array(results["confusion"]), display_labels=results["labels"])
    matrix.plot(ax=figure.subplots(), colorbar=False, xticks_rotation=45)
    return figure


def to_table(results: dict) -> Table:
    """The metrics and the accuracy for each speaker, for the terminal."""
    title = f"{results['dataset']['name']}: {results['clips']} clips, {results['folds']} folds"
    table = Table("metric", "value", "95 % interval", title=Text(title))
    for metric, numbers in results["metrics"].items():
        table.add_row(metric, f"{numbers['value']:.3f}", f"{numbers['low']:.3f} to {numbers['high']:.3f}")
    for speaker, accuracy in results["accuracy_by_speaker"].items():
        table.add_row(Text(f"accuracy of {speaker}"), f"{accuracy:.3f}")
    return table

"""The report of an evaluation: results.json, which `audio-branch push --metrics` reads, report.md and its figures."""

import json
import platform
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.table import Table
from rich.text import Text
from sklearn.metrics import confusion_matrix

from modeling_audio_branch.hub.results import Metric
from modeling_audio_branch.hub.text import escape_markdown
from modeling_audio_branch.hub.writing import replaced_file
from modeling_audio_branch.plots.style import save_figure
from recipes.emotion.figures import (
    MANY_CLASSES,
    commonest_confusions,
    one_line,
    plot_accuracies,
    plot_confusion,
    wilson_interval,
)
from recipes.emotion.metrics import accuracy_by_speaker, bootstrap_ci, correct_by_speaker
from recipes.emotion.settings import TrainingSettings

SHORT_NAMES = {"unweighted_accuracy": "UA", "weighted_accuracy": "WA", "macro_f1": "macro-F1"}
MANY_SPEAKERS = 30  # above it, the terminal shows a summary


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
    """Writes results.json, report.md and its figures to the folder; returns what results.json holds.

    Args:
        folder: Made if it doesn't exist.
        dataset: Name of the data.
        license: Licence of the data.
        evaluation: The predictions.
    """
    results = to_results(dataset, license, evaluation)
    for name, text in {"results.json": json.dumps(results, indent=2), "report.md": to_markdown(results)}.items():
        with replaced_file(folder / name) as file:
            file.write_text(text, encoding="utf-8")
    overall = results["metrics"]["weighted_accuracy"]["value"]
    by_class = {name: Metric(**numbers) for name, numbers in results["accuracy_by_class"].items()}
    clips = dict(zip(results["labels"], map(sum, results["confusion"]), strict=True))
    save_figure(plot_confusion(results["confusion"], results["labels"]), folder / "confusion.png")
    save_figure(plot_accuracies(by_class, clips, "class", overall), folder / "classes.png")
    if by_speaker := speaker_intervals(evaluation):
        clips = Counter(evaluation.speakers)
        save_figure(plot_accuracies(by_speaker, clips, "speaker", overall), folder / "speakers.png")
    return results


def speaker_intervals(evaluation: Evaluation) -> dict[str, Metric]:
    """The accuracy of each known speaker, with the 95 % Wilson interval of the speaker's clips."""
    correct = correct_by_speaker(evaluation.targets, evaluation.predictions, evaluation.speakers)
    return {name: wilson_interval(each.sum(), len(each)) for name, each in correct.items()}


def to_results(dataset: str, license: str, evaluation: Evaluation) -> dict:
    """The object in results.json."""
    tested = evaluation.targets, evaluation.predictions
    accuracies = accuracy_by_speaker(*tested, evaluation.speakers)
    estimates = bootstrap_ci(*tested, evaluation.speakers)
    data = {"name": dataset, "license": license}
    threads = f"{torch.get_num_threads()} CPU cores"
    confusion = confusion_matrix(*tested, labels=range(len(evaluation.labels)))
    by_class = {
        label: asdict(wilson_interval(row[i], row.sum()))
        for i, (label, row) in enumerate(zip(evaluation.labels, confusion, strict=True))
        if row.sum()
    }
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
        "accuracy_by_class": by_class,
        "labels": evaluation.labels,
        "confusion": confusion.tolist(),
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else threads,
        "versions": versions | {"Python": platform.python_version()},
        "decoder": f"libsndfile {soundfile.__libsndfile_version__}",
    }


def to_markdown(results: dict) -> str:
    """The text of report.md."""
    labels = results["labels"]
    lines = [f"# {_cell(results['dataset']['name'])}", "", f"{results['protocol']}; {results['interval']}.", ""]
    lines += ["| metric | value | interval |", "| --- | --- | --- |"]
    lines += [
        f"| {SHORT_NAMES[name]} | {each['value']:.3f} | {each['low']:.3f} to {each['high']:.3f} |"
        for name, each in results["metrics"].items()
    ]
    lines += ["", "UA is the mean of the classes' accuracies, WA the accuracy of all clips.", ""]
    lines += _confusion_table(np.array(results["confusion"]), [*map(_cell, labels)])
    accuracies = results["accuracy_by_speaker"]
    lines += ["", f"{_speaker_summary(accuracies)}."] if accuracies else []
    lines += ["", "![Confusion matrix](confusion.png)", "", "![Accuracy by class](classes.png)", ""]
    lines += ["![Accuracy by speaker](speakers.png)", ""] if accuracies else []
    lines += ["The lines on the bars are 95 % Wilson intervals, which take clips as independent. Clips of one speaker"]
    lines += ["are alike, so that the accuracy of a class for other speakers is less certain than its line shows.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A text that Markdown shows as it is, in one cell of a table."""
    return escape_markdown(one_line(text))


def _speaker_summary(accuracies: dict[str, float]) -> str:
    low, median, high = np.quantile(list(accuracies.values()), [0, 0.5, 1])
    return f"Accuracy of {len(accuracies)} speakers: {low:.2f} to {high:.2f}, median {median:.2f}"


def _confusion_table(confusion: np.ndarray, labels: list[str]) -> list[str]:
    """All cells, empty ones blank; of many classes the ten commonest confusions."""
    if len(labels) <= MANY_CLASSES:
        header = [f"| true label | predicted: {' | '.join(labels)} |", "| --- |" + " --- |" * len(labels)]
        rows = zip(labels, confusion, strict=True)
        return header + [f"| {label} | {' | '.join(str(count or '') for count in counts)} |" for label, counts in rows]
    commonest = commonest_confusions(confusion, labels)
    shown, mistakes = sum(clips for _, _, clips, _ in commonest), confusion.sum() - np.trace(confusion)
    header = ["| true label | predicted | clips | share of the true label's clips |", "| --- | --- | --- | --- |"]
    rows = [f"| {true} | {predicted} | {clips} | {share:.2f} |" for true, predicted, clips, share in commonest]
    return [f"The commonest confusions, {shown:,} of {mistakes:,} mistakes:", "", *header, *rows]


def to_table(results: dict) -> Table:
    """The metrics and the accuracy for each speaker, for the terminal; of many speakers a summary."""
    title = f"{one_line(results['dataset']['name'])}: {results['clips']} clips, {results['folds']} folds"
    table = Table("metric", "value", "95 % interval", title=Text(title))
    for metric, numbers in results["metrics"].items():
        table.add_row(metric, f"{numbers['value']:.3f}", f"{numbers['low']:.3f} to {numbers['high']:.3f}")
    accuracies = results["accuracy_by_speaker"]
    for speaker, accuracy in accuracies.items() if len(accuracies) <= MANY_SPEAKERS else ():
        table.add_row(Text(f"accuracy of {one_line(speaker)}"), f"{accuracy:.3f}")
    if len(accuracies) > MANY_SPEAKERS:
        table.caption = _speaker_summary(accuracies)
    return table

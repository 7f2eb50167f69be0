"""Figures of the report: the confusion matrix, and the accuracy of classes and speakers with intervals."""

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import binomtest

from modeling_audio_branch.hub.results import Metric
from modeling_audio_branch.plots.style import BLUE, COLORMAP, GRAY, INK, ORANGE, styled

MANY_CLASSES = 12  # above it, numbers in the cells and a table of all cells are not readable


def block_order(confusion: np.ndarray) -> list[int]:
    """An order of the classes in which those that are confused are neighbours, so that blocks show.

    Args:
        confusion: (C, C) counts, a row for each true class.

    Returns:
        The classes, by average linkage on the share of clips that two classes confuse, leaves ordered optimally
        (Bar-Joseph et al. 2001).
    """
    counts = np.asarray(confusion, dtype=float)
    if len(counts) < 3:
        return list(range(len(counts)))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed)).tolist()


def commonest_confusions(
    confusion: np.ndarray, labels: list[str], count: int = 10
) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true label, predicted label, clips, share of the true label's clips)."""
    counts = np.asarray(confusion)
    totals = counts.sum(1)
    mistakes = [
        (-int(counts[true, predicted]), true, predicted)
        for true in range(len(labels))
        for predicted in range(len(labels))
        if true != predicted and counts[true, predicted]
    ]
    return [(labels[t], labels[p], -clips, -clips / int(totals[t])) for clips, t, p in sorted(mistakes)[:count]]


def wilson_interval(correct: int, total: int) -> Metric:
    """The share of correct clips with its 95 % Wilson score interval (Wilson 1927)."""
    interval = binomtest(int(correct), int(total)).proportion_ci(0.95, "wilson")
    value = correct / total
    return Metric(value, min(float(interval.low), value), max(float(interval.high), value))


@styled
def plot_confusion(confusion: np.ndarray, labels: list[str]) -> Figure:
    """The confusion matrix: a row for each true label, a column for each predicted one; empty cells are blank.

    Up to 12 classes stand in their order, with the number of clips in each cell. More stand in `block_order`, and the
    shade alone tells the share.
    """
    counts = np.asarray(confusion)
    is_large = len(labels) > MANY_CLASSES
    order = block_order(counts) if is_large else list(range(len(labels)))
    counts, names = counts[np.ix_(order, order)], [labels[i] for i in order]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2.2 + (0.21 if is_large else 0.62) * len(labels)  # inches
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    axes = figure.subplots()
    blank = np.ma.masked_where(counts == 0, shares)
    image = axes.imshow(blank, cmap=COLORMAP, vmin=0, vmax=1, interpolation="nearest")
    size = 7 if is_large else 10
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90 if is_large else 45, ha="center" if is_large else "right", fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    if not is_large:
        axes.tick_params(axis="x", rotation=45)
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRAY, linewidth=0.25, alpha=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set(xlabel="Predicted", ylabel="True")
    if not is_large:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=size)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("Share of the true label's clips")
    bar.outline.set_visible(False)
    return figure


@styled
def plot_accuracies(accuracies: dict[str, Metric], kind: str, overall: float) -> Figure:
    """Bars of accuracy, from the highest to the lowest, with their 95 % Wilson intervals.

    Args:
        accuracies: By the name of the class or speaker.
        kind: What the bars are: "class" or "speaker".
        overall: The accuracy of all clips, drawn as a line.
    """
    names = sorted(accuracies, key=lambda name: (accuracies[name].value, name))  # the highest is drawn on top
    values = np.array([accuracies[name].value for name in names])
    errors = np.array([[each.value - each.low, each.high - each.value] for each in map(accuracies.get, names)]).T
    figure = Figure(figsize=(7, 1.3 + 0.22 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(names)), values, color=BLUE, alpha=0.75, height=0.7)
    axes.errorbar(values, range(len(names)), xerr=errors, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    axes.axvline(overall, color=ORANGE, linewidth=1.2)
    axes.annotate(
        f"all clips: {overall:.2f}",
        (overall, 1),
        xytext=(3, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=ORANGE,
        fontsize=9,
    )
    axes.set_yticks(range(len(names)), names, fontsize=8 if len(names) > MANY_CLASSES else 10)
    axes.tick_params(axis="y", length=0)
    axes.set(
        xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), xlabel=f"Accuracy by {kind} (95 % Wilson interval of its clips)"
    )
    axes.margins(y=0)
    return figure

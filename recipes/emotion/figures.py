"""Figures of the report: the confusion matrix, and the accuracy of classes and speakers with intervals."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import binomtest

from modeling_audio_branch.hub.results import Metric
from modeling_audio_branch.plots.style import BLUE, COLORMAP, GRAY, INK, ORANGE, styled

MANY_CLASSES = 12  # above it, numbers in the cells and a table of all cells are not readable
MAX_NAMES = 100  # above it, names are not readable
MAX_NAME_LENGTH = 36
MAX_OPTIMAL = 1000  # classes whose order takes about 2 s
# The lightest shade is not white, so that a cell with one clip of many differs from an empty one.
SHADES = ListedColormap(colormaps[COLORMAP](np.linspace(0.1, 1, 256)))


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
    shares = shares_of_rows(counts)
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    tree = linkage(condensed, "average")
    return leaves_list(optimal_leaf_ordering(tree, condensed) if len(counts) <= MAX_OPTIMAL else tree).tolist()


def shares_of_rows(counts: np.ndarray) -> np.ndarray:
    """Each count as a share of its row; zeros for an empty row."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def commonest_confusions(
    confusion: np.ndarray, labels: list[str], count: int = 10
) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true label, predicted label, clips, share of the true label's clips)."""
    mistakes = np.array(confusion)
    shares = shares_of_rows(mistakes)
    np.fill_diagonal(mistakes, 0)
    cells = [(*cell, int(mistakes[tuple(cell)]), float(shares[tuple(cell)])) for cell in np.argwhere(mistakes)]
    cells.sort(key=lambda cell: (-cell[2], -cell[3]))
    return [(labels[true], labels[predicted], clips, share) for true, predicted, clips, share in cells[:count]]


def wilson_interval(correct: int, total: int) -> Metric:
    """The share of correct clips with its 95 % Wilson score interval (Wilson 1927)."""
    interval = binomtest(int(correct), int(total)).proportion_ci(0.95, "wilson")
    value = correct / total
    return Metric(value, min(float(interval.low), value), max(float(interval.high), value))


def one_line(name: str) -> str:
    """The name in one line; bytes of a file name that are not UTF-8 are shown as numbers."""
    return " ".join(name.split()).encode("utf-8", "backslashreplace").decode("utf-8")


def short_name(name: str) -> str:
    """The name in one line; the middle of a long one is left out."""
    name = one_line(name)
    if len(name) <= MAX_NAME_LENGTH:
        return name
    half = MAX_NAME_LENGTH // 2
    return f"{name[: half - 1]}…{name[-half:]}"


@styled
def plot_confusion(confusion: np.ndarray, labels: list[str]) -> Figure:
    """The confusion matrix: a row for each true label, a column for each predicted one; empty cells are blank.

    Up to 12 classes stand in their order, with the number of clips in each cell. More stand in `block_order`, and the
    shade alone tells the share. Above 100 classes, their names are left out.
    """
    counts = np.asarray(confusion)
    is_large = len(labels) > MANY_CLASSES
    order = block_order(counts) if is_large else list(range(len(labels)))
    counts, names = counts[np.ix_(order, order)], [short_name(labels[i]) for i in order]
    shares = shares_of_rows(counts)
    side = 2.2 + (0.21 * min(len(labels), 50) if is_large else 0.62 * len(labels))  # inches
    if MAX_NAMES >= len(labels) > 50:
        side = 2.2 + 0.15 * len(labels)
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    axes = figure.subplots()
    blank = np.ma.masked_where(counts == 0, shares)
    image = axes.imshow(blank, cmap=SHADES, vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(f"{len(labels)} classes, {counts.sum():,} clips", pad=10)
    note = " (classes that are confused are neighbours)" if is_large else ""
    axes.set(xlabel=f"Predicted class{note}", ylabel="True class")
    _name_cells(axes, names)
    if not is_large:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=10)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("Share of the true class's clips (blank: none)", fontsize=10)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    return figure


def _name_cells(axes: Axes, names: list[str]) -> None:
    """Names of the rows and columns, and thin lines between the cells."""
    if len(names) > MAX_NAMES:
        axes.set(xticks=[], yticks=[])
        return
    is_large = len(names) > MANY_CLASSES
    places, edges = range(len(names)), np.arange(len(names) + 1) - 0.5
    size = 10 if not is_large else 7.5 if len(names) <= 50 else 6
    turned = {"rotation": 90} if is_large else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(places, names, fontsize=size, **turned)
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color=GRAY, linewidth=0.25, alpha=0.5)
    axes.tick_params(which="minor", length=0)


@styled
def plot_accuracies(accuracies: dict[str, Metric], clips: dict[str, int], kind: str, overall: float) -> Figure:
    """Bars of accuracy, from the highest to the lowest, with their 95 % Wilson intervals and their numbers of clips.

    Args:
        accuracies: By the name of the class or speaker. Above 100, the names are left out.
        clips: How many clips each accuracy is measured on.
        kind: What the bars are: "class" or "speaker".
        overall: The accuracy of all clips, drawn as a line.
    """
    names = sorted(sorted(accuracies, reverse=True), key=lambda name: accuracies[name].value)  # upwards, as drawn
    has_names = len(names) <= MAX_NAMES
    values = np.array([accuracies[name].value for name in names])
    errors = np.array([[each.value - each.low, each.high - each.value] for each in map(accuracies.get, names)]).T
    inches = 0.3 if len(names) <= MANY_CLASSES else 0.2 if len(names) <= 50 else 0.15
    figure = Figure(figsize=(8, 1.7 + min(inches * len(names), 15 if has_names else 9)), layout="constrained")
    axes = figure.subplots()
    places = range(len(names))
    axes.barh(places, values, color=BLUE, alpha=0.6, height=0.7 if has_names else 1)
    line = {"elinewidth": 1, "capsize": 2} if has_names else {"elinewidth": 0.4, "alpha": 0.6}
    axes.errorbar(values, places, xerr=errors, fmt="none", ecolor=INK, **line)
    axes.axvline(overall, color=ORANGE, linewidth=1.2)
    side = {"xytext": (-3, 3), "ha": "right"} if overall > 0.8 else {"xytext": (3, 3)}
    top = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 9}
    axes.annotate(f"all clips: {overall:.2f}", (overall, 1), color=ORANGE, **side, **top)
    axes.set_title(f"Accuracy by {kind}", pad=20)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), yticks=[])
    axes.tick_params(axis="x", labelsize=9)
    axes.set_xlabel("Share of correct clips (lines: 95 % Wilson interval, as if clips were independent)", fontsize=10)
    if not has_names:
        plural = {"class": "classes", "speaker": "speakers"}[kind]
        axes.set_ylabel(f"{len(names):,} {plural}, from the highest to the lowest", fontsize=10)
        return figure
    size = 10 if len(names) <= MANY_CLASSES else 8 if len(names) <= 50 else 6.5
    axes.set_yticks(places, map(short_name, names), fontsize=size)
    axes.tick_params(axis="y", length=0)
    axes.annotate("clips", (1, 1), xytext=(36, 3), ha="right", color=INK, **top | {"xycoords": "axes fraction"})
    for place, name in enumerate(names):
        right = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{clips[name]:,}", (1, place), xytext=(36, 0), ha="right", color=INK, fontsize=size, **right)
    return figure

"""The probabilities of a classifier's labels over the segments of a clip."""

from collections.abc import Sequence

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from .style import styled

MAX_LABELS = 6  # that are drawn: those with the highest probability anywhere


@styled
def plot_probabilities(
    times: torch.Tensor, probabilities: torch.Tensor, labels: Sequence[str], width: float = 9.0
) -> Figure:
    """A line for each label, with a step at each border of a segment.

    Args:
        times: Start and end (S, 2) of the segments in seconds.
        probabilities: (S, labels).
        labels: Their names.
        width: Of the figure in inches.
    """
    figure = Figure(figsize=(width, 3.0), layout="constrained")
    axes = figure.subplots()
    edges = [*times[:, 0].tolist(), times[-1, 1].item()]
    drawn = probabilities.amax(0).argsort(descending=True)[:MAX_LABELS].sort().values.tolist()
    for color, index in zip(colormaps["tab10"].colors, drawn, strict=False):
        axes.stairs(probabilities[:, index], edges, baseline=None, label=labels[index], color=color, linewidth=1.8)
    axes.set(xlabel="Seconds", ylabel="Probability", ylim=(-0.02, 1.02), xlim=(edges[0], edges[-1]))
    figure.legend(loc="outside upper left", ncols=3 if width > 6 else 2, frameon=False, fontsize=10)
    return figure

"""Segments of one clip compared with the segments of others: a matrix of cosine similarities for each pair."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.nn import functional as F

from ..audio_input import load_audio
from ..modeling_audio_branch import AudioBranchModel
from .segments import clip_name
from .style import BLUE, COLORMAP, INK, ORANGE, hide_frame, styled


def segment_similarity(
    model: AudioBranchModel, audio: Any, others: Sequence[Any], sampling_rate: int | None = None
) -> torch.Tensor:
    """Cosine similarity (clips, S, S) of each segment of `audio` (rows) and each segment of every other clip."""
    output = model.base_model.encode([audio, *others], sampling_rate, show_progress=False)
    features = F.normalize(output.segment_features.float(), dim=-1)  # (1 + clips, S, feature_dim)
    return features[0] @ features[1:].mT


def segment_alignment(similarity: torch.Tensor) -> torch.Tensor:
    """The way (n, 2) through a matrix (S, S) of cosine similarities, as rows and columns, that costs least.

    It leads from the first segments to the last ones by steps of at most one segment in each clip. A place costs 1 less
    its similarity, and twice as much after a step in both clips, so that no detour is cheaper by being longer.
    """
    cost = 1 - similarity.double()
    rows, columns = cost.shape
    total, back = torch.full((rows, columns), torch.inf, dtype=torch.float64), {}
    for i in range(rows):
        for j in range(columns):
            ways = [(i - 1, j - 1, 2), (i - 1, j, 1), (i, j - 1, 1)]
            ways = [(total[a, b] + weight * cost[i, j], (a, b)) for a, b, weight in ways if a >= 0 and b >= 0]
            total[i, j], back[i, j] = min(ways, key=lambda way: way[0]) if ways else (cost[i, j], None)
    path, place = [], (rows - 1, columns - 1)
    while place is not None:
        path.append(place)
        place = back[place]
    return torch.tensor(path[::-1])


@styled
def plot_segment_similarity(
    model: AudioBranchModel,
    audio: Any,
    others: Sequence[Any],
    sampling_rate: int | None = None,
    names: Sequence[str] | None = None,
    align: bool = False,
) -> Figure:
    """A matrix of cosine similarities for each pair, with the waveforms of both clips along its sides.

    Args:
        model: Its `encode` makes the features.
        audio: The clip whose segments are the rows, in any form that [`AudioBranchFeatureExtractor`] takes.
        others: The clips whose segments are the columns, one matrix each.
        sampling_rate: Rate in Hz of clips that do not carry their own.
        names: Name of `audio` and of each other clip; by default those of the files.
        align: Draw the best alignment as a line, and give its mean in the title.

    Raises:
        ValueError, TypeError, FileNotFoundError: One sentence if a clip cannot be read.
    """
    clips = [audio, *others]
    similarity = segment_similarity(model, audio, others, sampling_rate)
    names = [Path(clip_name(clip)).stem for clip in clips] if names is None else list(names)
    waves = [load_audio(clip, model.config.sample_rate, sampling_rate) for clip in clips]

    figure = Figure(figsize=(0.5 + 4.3 * len(others), 5), layout="constrained")
    widths, heights = [1, 6] * len(others), [1, 6]
    panels = figure.subplots(2, 2 * len(others), width_ratios=widths, height_ratios=heights)
    for column, matrix in enumerate(similarity):
        corner, above, left, square = panels[:, 2 * column : 2 * column + 2].flatten()
        wave = waves[column + 1]
        _draw_matrix(square, matrix)
        above.plot(wave, color=BLUE, linewidth=0.4)
        left.plot(waves[0], range(len(waves[0]), 0, -1), color=BLUE, linewidth=0.4)
        above.set_xlim(0, len(wave))
        left.set_ylim(0, len(waves[0]))
        for axes in (corner, above, left):
            hide_frame(axes)
        title = f"{names[column + 1]}: {matrix.diagonal().mean():.2f} along the diagonal"
        if align:
            path = segment_alignment(matrix)
            title += f"\n{matrix[tuple(path.T)].mean():.2f} along the best alignment"
            square.plot(path[:, 1], path[:, 0], color=ORANGE, linewidth=16, alpha=0.3, solid_capstyle="round")
        above.set_title(title, loc="center", fontsize=11, weight="normal")
        left.set_ylabel(names[0], fontsize=10)
    return figure


def _draw_matrix(axes: Axes, matrix: torch.Tensor) -> None:
    """Similarities (S, S) as shades and numbers; the segments that correspond are bold."""
    axes.imshow(matrix, cmap=COLORMAP, vmin=0, vmax=1, aspect="auto")
    for row, values in enumerate(matrix.tolist()):
        for column, value in enumerate(values):
            color, weight = ("white" if value > 0.6 else INK), ("bold" if row == column else "normal")
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color, weight=weight)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)

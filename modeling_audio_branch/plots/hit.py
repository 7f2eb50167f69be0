"""A phrase and the place where it was found: which frames are alike, and how they were aligned."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from ..audio_input import load_audio
from ..corpus.alignment import paths_to
from ..corpus.cutouts import read_part
from .segments import clip_name
from .style import BLUE, COLORMAP, ORANGE, hide_frame, styled

AROUND = 0.5  # seconds that are shown before and after the hit


@styled
def plot_hit(index, phrase: Any, hit, sampling_rate: int | None = None) -> Figure:
    """The cosine similarity of each frame of the phrase (rows) and of the recording around the hit (columns).

    The waveforms are along the sides; the line is the alignment, whose mean cosine similarity is the score.

    Args:
        index: The [`AudioIndex`] that found the hit.
        phrase: What was sought.
        hit: A [`Hit`].
        sampling_rate: Rate in Hz of a phrase that is an array.
    """
    rate, seconds = index.sampling_rate, index.frame_seconds
    query = index.phrase_frames(phrase, sampling_rate)  # (n, C)
    matrix = index.frame_matrix([hit.file])
    first, end = round(hit.start / seconds), round(hit.end / seconds)
    last = min(end, len(matrix.frames)) - 1
    path = paths_to(query, matrix.frames, matrix.scale, torch.tensor([last]))[0]  # (n,)
    shown = slice(max(0, first - round(AROUND / seconds)), end + round(AROUND / seconds))
    similarity = (query @ matrix.frames[shown].float().T) * matrix.scale[shown]  # (n, t)

    start, stop = shown.start * seconds, (shown.start + similarity.shape[1]) * seconds
    recording = read_part(hit.file, start, stop)[0].mean(1)
    wave = load_audio(phrase, rate, sampling_rate)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    panels = figure.subplots(2, 2, width_ratios=[1, 7], height_ratios=[1, 4])
    (corner, above), (left, square) = panels
    length = len(wave) / rate
    extent = (start, stop, length, 0)
    square.imshow(similarity, cmap=COLORMAP, vmin=0, vmax=1, aspect="auto", extent=extent, interpolation="nearest")
    rows = (torch.arange(len(path)) + 0.5) * length / len(path)
    square.plot((path + 0.5) * seconds, rows, color=ORANGE, linewidth=2)
    square.set(xlabel=f"Seconds of {Path(hit.file).name}", yticks=[], xlim=(start, stop))
    above.plot(torch.linspace(start, stop, len(recording)), recording, color=BLUE, linewidth=0.4)
    above.axvspan(hit.start, hit.end, color=ORANGE, alpha=0.2, linewidth=0)
    above.set_xlim(start, stop)
    left.plot(wave, torch.linspace(length, 0, len(wave)).flip(0), color=BLUE, linewidth=0.4)
    left.set_ylim(length, 0)
    left.set_ylabel(f"{clip_name(phrase)}, {length:.1f} s", fontsize=10)
    for axes in (corner, above, left):
        hide_frame(axes)
    chance = "" if hit.probability is None else f", probability {hit.probability:.0%}"
    above.set_title(f"Found at {hit.start:.2f} s: score {hit.score:.2f}{chance}", fontsize=11)
    return figure

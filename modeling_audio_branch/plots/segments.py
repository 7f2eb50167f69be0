"""One clip over time: waveform, log-mel frames and pooling weights, cut by the borders of its segments."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from transformers.audio_utils import hertz_to_mel

from ..audio_input import load_audio
from ..configuration_audio_branch import AudioBranchConfig
from ..encoding import eval_copy, input_device
from ..feature_extraction import AudioBranchFeatureExtractor
from ..modeling_audio_branch import AudioBranchModel, AudioBranchOutput
from .style import BLUE, COLORMAP, INK, ORANGE, styled

MAX_SECONDS = 20  # the attention maps, from which the pooling weights are read, grow with the square of the length


@styled
@torch.no_grad()
def plot_segments(
    model: AudioBranchModel,
    audio: Any,
    sampling_rate: int | None = None,
    name: str | None = None,
    max_seconds: float = MAX_SECONDS,
    width: float = 9.0,
) -> Figure:
    """Waveform, log-mel frames and pooling weights of one clip, with the borders of its segments.

    There is no log-mel panel for an `encoder_config`, which has features of its own, and no panel of pooling weights
    for `pooling_type="max"`, which has none.

    Args:
        model: An [`AudioBranchModel`], or a classifier, whose [`AudioBranchModel`] is used.
        audio: One clip in any form that [`AudioBranchFeatureExtractor`] takes.
        sampling_rate: Rate in Hz of a clip that does not carry its own.
        name: Name in the title; by default that of the file.
        max_seconds: A longer clip is cut at this length, or at the longest that the encoder takes; the title says so.
        width: Of the figure in inches; 4.5 suits the screen of a phone.

    Raises:
        ValueError, TypeError, FileNotFoundError: One sentence if the clip cannot be read or has no log-mel frame.
    """
    model, config = model.base_model, model.config
    name = clip_name(audio) if name is None else name
    whole = load_audio(audio, config.sample_rate, sampling_rate)  # (samples,)
    samples = whole[: _max_samples(model, max_seconds)]
    extractor = AudioBranchFeatureExtractor.from_model(model)
    inputs = extractor(samples, sampling_rate=config.sample_rate, return_tensors="pt")
    with torch.no_grad():
        output = eval_copy(model)(**inputs.to(input_device(model)), output_attentions=True)
    times = output.segment_times[0].tolist()
    seconds = times[-1][1]
    if not seconds:
        raise ValueError(f"{name} is shorter than one log-mel frame, so there is nothing to plot; give a longer clip.")
    length = f"{seconds:.1f} s" if len(samples) == len(whole) else f"its first {seconds:.0f} s"

    heights = {"waveform": 1.0}
    if not config.encoder_config:
        heights["log_mel"] = 1.6
    if output.pooling_attentions is not None:
        heights["weights"] = 1.1
    figure = Figure(figsize=(width, 1.9 * len(heights)), layout="constrained")
    panels = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=list(heights.values()))[:, 0]
    axes = dict(zip(heights, panels, strict=True))
    _draw_waveform(axes["waveform"], samples, config.sample_rate)
    axes["waveform"].set_title(f"{name}: {length} in {len(times)} segments", pad=24)
    if "log_mel" in axes:
        valid = inputs["attention_mask"][0].bool()
        _draw_log_mel(axes["log_mel"], inputs["input_features"][0][valid].cpu(), seconds, config)
    if "weights" in axes:
        _draw_pooling_weights(axes["weights"], output, seconds, config)
    _draw_borders(panels, times)
    panels[-1].set(xlabel="Seconds", xlim=(0, seconds))
    return figure


def clip_name(audio: Any) -> str:
    """The file name of a path, `clip` for everything else."""
    return Path(audio).name if isinstance(audio, (str, os.PathLike)) else "clip"


def _max_samples(model: AudioBranchModel, max_seconds: float) -> int:
    limit = model.front_end.max_samples
    max_samples = int(max_seconds * model.config.sample_rate)
    return max_samples if limit is None else min(limit, max_samples)


def _draw_waveform(axes: Axes, samples: torch.Tensor, rate: int) -> None:
    peak = 1.1 * samples.abs().max().item() or 1.0
    axes.plot(torch.arange(len(samples)) / rate, samples, color=BLUE, linewidth=0.4)
    axes.set(ylabel="Waveform", yticks=[], ylim=(-peak, peak))


def _draw_log_mel(axes: Axes, log_mel: torch.Tensor, seconds: float, config: AudioBranchConfig) -> None:
    """Log-mel frames (T, M), with a scale of frequencies."""
    # Few shades and no blending of pixels make the file a third as large.
    shades = {"cmap": colormaps[COLORMAP].resampled(16), "vmin": -2, "vmax": 3, "interpolation": "nearest"}
    axes.imshow(log_mel.T, origin="lower", aspect="auto", extent=(0, seconds, 0, config.n_mels), **shades)
    nyquist = config.sample_rate / 2
    kilohertz = [k for k in (0.5, 1, 2, 4, 8, 16) if k * 1000 < nyquist]
    mel = hertz_to_mel(np.array([*kilohertz, nyquist / 1000]) * 1000, mel_scale="slaney")
    # Bin i has its centre at (i + 1) / (M + 1) of the mel scale, and is drawn from i to i + 1.
    axes.set(ylabel="Log-mel (kHz)", yticks=mel[:-1] / mel[-1] * (config.n_mels + 1) - 0.5, yticklabels=kilohertz)


def _draw_pooling_weights(axes: Axes, output: AudioBranchOutput, seconds: float, config: AudioBranchConfig) -> None:
    """The weight of each frame in its segment, mean over heads, relative to its weight in a plain mean."""
    weights = output.pooling_attentions[0].float().mean(0).cpu()  # (S, T')
    num_frames = output.attention_mask.sum(-1).cpu()  # (1,)
    frame_rate = num_frames.item() / seconds if config.encoder_config else config.frame_rate
    times = (torch.arange(weights.shape[1]) + 0.5) / frame_rate
    for row in weights:
        inside = row > 0
        relative = row[inside] * inside.sum()
        axes.fill_between(times[inside], 1, relative, color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(times[inside], relative, color=BLUE, linewidth=1)
    axes.axhline(1, color=INK, linewidth=0.6)
    axes.set_ylabel("Pooling weight\n(1: plain mean)")


def _draw_borders(panels: np.ndarray, times: list[list[float]]) -> None:
    """Numbers the segments above the first panel, and draws a line through all panels where one ends."""
    for number, (start, end) in enumerate(times, 1):
        top = panels[0].get_xaxis_transform()
        panels[0].text((start + end) / 2, 1.04, number, transform=top, ha="center")
        for axes in panels if start else []:  # each line goes on across the gap above its panel
            axes.axvline(start, ymax=1.14, clip_on=False, color=ORANGE, linewidth=1).set_in_layout(False)

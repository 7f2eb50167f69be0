"""One clip on the page: its picture, its segments as sound files, and its features as files.

S segments.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ..audio_file import AudioFile
from ..corpus.cutouts import read_part
from ..modeling_audio_branch import AudioBranchPreTrainedModel
from ..plots import plot_probabilities, plot_segments, save_figure
from .sentences import short_name

MAX_SECONDS = 60  # of a clip; attention maps are drawn, which grow with the square
DPI = 110
NARROW = 6.0  # inches, up to which a title has room for few letters


@dataclass
class SegmentView:
    """What the page shows of a clip.

    Args:
        picture: Path of the figure.
        span: The columns of the picture's pixels where the time axis begins and ends.
        times: Start and end of each segment in seconds.
        names: Of the segments, with their times.
        npy: Path of the segment features (S, feature_dim).
        json: Path of times, features and, of a classifier, probabilities.
        probabilities: Path of the figure of a classifier's probabilities; else None.
        summary: One sentence.
    """

    picture: str
    span: tuple[float, float]
    times: list[tuple[float, float]]
    names: list[str]
    npy: str
    json: str
    probabilities: str | None
    summary: str


def view_segments(model: AudioBranchPreTrainedModel, file: str, folder: Path, width: float = 9.0) -> SegmentView:
    """Encodes a clip and draws it.

    Args:
        model: An [`AudioBranchModel`] or a classifier.
        file: Path of the clip.
        folder: Where the files are written.
        width: Of the figures in inches.

    Raises:
        ValueError, TypeError, OSError: One sentence if the clip can't be read, is too short or longer than 60 s.
    """
    check_length(file, model.config.sample_rate)
    figure = plot_segments(
        model, file, name=short_name(file, 28 if width > NARROW else 14), max_seconds=MAX_SECONDS + 1, width=width
    )
    output = model.encode(file, show_progress=False)
    times = [tuple(pair) for pair in output.segment_times.tolist()]
    stem = Path(file).stem
    written = {
        "file": Path(file).name,
        "segment_times": times,
        "segment_features": output.segment_features.tolist(),
        "pooler_output": output.pooler_output.tolist(),
    }
    seconds, features = times[-1][1] / len(times), output.segment_features.shape[-1]
    average = "" if model.config.segmentation == "uniform" else " on average"
    summary = f"{len(times)} segments of {seconds:.2f} s{average}, {features} features each."
    drawn = None
    if output.probabilities is not None:
        labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
        probabilities = model.encode(file, show_progress=False, spans=times).probabilities  # (S, labels)
        written |= {"labels": labels, "probabilities": probabilities.tolist()}
        drawn = _save(plot_probabilities(output.segment_times, probabilities, labels, width), folder / "labels.png")
        best = output.probabilities.argmax().item()
        summary += f" Most probable: {labels[best]} ({output.probabilities[best]:.0%})."
    np.save(folder / f"{stem}.npy", output.segment_features.numpy())
    (folder / f"{stem}.json").write_text(json.dumps(written), encoding="utf-8")
    box = figure.axes[0].get_window_extent().transformed(figure.transFigure.inverted())
    pixels = figure.get_figwidth() * DPI
    return SegmentView(
        _save(figure, folder / "segments.png"),
        (float(box.x0 * pixels), float(box.x1 * pixels)),
        times,
        [f"{number}: {start:.2f} to {end:.2f} s" for number, (start, end) in enumerate(times, 1)],
        str(folder / f"{stem}.npy"),
        str(folder / f"{stem}.json"),
        drawn,
        summary,
    )


def segment_at(x: float, span: tuple[float, float], times: list[tuple[float, float]]) -> int:
    """The index of the segment at a column x of the picture, that of the nearest one outside of the axis."""
    left, right = span
    seconds = (x - left) / (right - left) * times[-1][1]
    return max(sum(start <= seconds for start, _ in times) - 1, 0)


def write_segment(file: str, start: float, end: float, path: Path) -> str:
    """Writes a part of a clip, in seconds, as a wav file at the clip's own rate; returns its path."""
    samples, rate = read_part(file, start, end)
    written = io.BytesIO()
    soundfile.write(written, samples, rate, format="WAV", subtype="PCM_16")
    path.write_bytes(written.getvalue())
    return str(path)


def check_length(file: str, rate: int, max_seconds: float = MAX_SECONDS) -> None:
    """Raises a ValueError of one sentence for a file that is longer; no more of it is decoded."""
    count = 0
    for block in AudioFile(file, rate):
        count += len(block)
        if count > max_seconds * rate:
            raise ValueError(
                f"{Path(file).name} is longer than {max_seconds:g} s; give a shorter one. The command audio-branch "
                f"find seeks phrases in hours of recordings."
            )


def _save(figure, path):
    save_figure(figure, path, DPI)
    return str(path)

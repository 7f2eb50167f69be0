"""Video files to frames and samples, by PyAV.

Times are seconds on the clock of the audio, or of the video where there is no audio. F frames, H x W pixels, L samples.
"""

import io
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

MAX_FRAMES = 100_000  # of a file; more than an hour
MAX_GAP_SECONDS = 0.1  # between blocks of samples, that is taken for a rounding of their times


@dataclass
class VideoClip:
    """What was read of a clip.

    Args:
        frames: (F, H, W, 3) uint8, or None without a video.
        frame_times: (F, 2) float64, start and end of each frame in seconds.
        samples: (L,) float32 mono, or None without audio.
        sampling_rate: Of the samples in Hz.
    """

    frames: torch.Tensor | None = None
    frame_times: torch.Tensor | None = None
    samples: torch.Tensor | None = None
    sampling_rate: int | None = None


def read_video(source: Any, size: tuple[int, int] | None = None) -> VideoClip:
    """Decodes the first video stream and the first audio stream of a file, whichever of them it has.

    Frames that the file times before the first sample of its audio are left out. A frame lasts until the next one; the
    last one as long as the one before it.

    Args:
        source: A path, or the bytes of a file.
        size: Height and width that each frame is scaled to as soon as it is decoded (bilinear, without keeping the
            proportions); None keeps it as it is.

    Raises:
        ImportError: PyAV is missing.
        FileNotFoundError, ValueError: One sentence on a file that is missing, is no video, is damaged or is empty.
    """
    with _opened(source) as (container, name):
        clip = _decode(container, size, name)
        if clip.frames is None and clip.samples is None:
            raise ValueError(f"{name} has neither frames nor samples; give a video file with at least one of them.")
        return clip


def video_streams(source: Any) -> set[str]:
    """Which of `video` and `audio` the file has, after decoding the beginning of each.

    Raises:
        ImportError, FileNotFoundError, ValueError: As `read_video`.
    """
    with _opened(source) as (container, _):
        streams = {"video": container.streams.video[:1], "audio": container.streams.audio[:1]}
        found = {name for name, stream in streams.items() if stream and _has_frame(container, stream)}
    return found


def _has_frame(container, stream) -> bool:
    container.seek(0)
    return next(iter(container.decode(*stream)), None) is not None


@contextmanager
def _opened(source):
    """The container of PyAV, and the name of the file for messages; errors of FFmpeg become ValueErrors."""
    try:
        import av
    except ImportError as error:
        raise ImportError("Reading video files needs PyAV; install it with pip install av, or give frames=.") from error
    name = "The video" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise FileNotFoundError(f"{name} does not exist; give the path of a video file.")
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
            yield container, name
    except (av.error.FFmpegError, EOFError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        raise ValueError(f"{name} can't be decoded ({reason}); give a video file such as mp4, mkv or webm.") from error


def _decode(container, size, name) -> VideoClip:
    """Reads both streams in the order of the file, so that neither has to be kept encoded."""
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    if not streams:
        raise ValueError(f"{name} has no video and no audio stream; give a video file.")
    frames, starts, samples, audio_start, rate = [], [], [], None, None
    for decoded in container.decode(streams):
        seconds = float(decoded.pts * decoded.time_base) if decoded.pts is not None else None
        if hasattr(decoded, "samples"):
            audio_start = seconds if audio_start is None else audio_start
            rate = rate or decoded.sample_rate
            if (
                seconds is not None and audio_start is not None
            ):  # packets may be missing: the sound after them is not early
                gap = round((seconds - audio_start) * rate) - sum(map(len, samples))
                if gap > MAX_GAP_SECONDS * rate:
                    samples.append(np.zeros(gap, np.float32))
            samples.append(_mono(decoded.to_ndarray(), len(decoded.layout.channels)))
            continue
        if len(frames) == MAX_FRAMES:
            raise ValueError(f"{name} has more than {MAX_FRAMES} frames; cut it into parts.")
        if size is not None:
            decoded = decoded.reformat(width=size[1], height=size[0], format="rgb24", interpolation="BILINEAR")
        frames.append(torch.from_numpy(decoded.to_ndarray(format="rgb24")))
        starts.append(seconds)
    clip = VideoClip()
    if samples:
        clip.samples, clip.sampling_rate = torch.from_numpy(np.concatenate(samples)), rate
    if frames:
        clip.frame_times, is_kept = _frame_times(starts, audio_start, container.streams.video[0], name)
        kept = [frame for frame, each in zip(frames, is_kept.tolist(), strict=True) if each]
        if kept:
            clip.frames, clip.frame_times = torch.stack(kept), clip.frame_times[is_kept]
    return clip


def _mono(samples: np.ndarray, channels: int) -> np.ndarray:
    """Samples of a decoded block, planar (C, L) or packed (1, L * C), to float32 (L,)."""
    if np.issubdtype(samples.dtype, np.integer):
        info = np.iinfo(samples.dtype)
        offset = 0 if info.min else (info.max + 1) // 2
        samples = (samples.astype(np.float32) - offset) / (2.0 ** (info.bits - 1))
    if samples.shape[0] != channels:
        samples = samples.reshape(-1, channels).T
    return samples.mean(0, dtype=np.float32)


def _frame_times(starts, audio_start, stream, name):
    """Start and end of each frame (F, 2), and which frames end after the clock's zero."""
    if any(start is None for start in starts):  # a raw stream without times
        if not stream.average_rate:
            raise ValueError(f"{name} has frames without times; put it into a container such as mp4.")
        starts = [number / float(stream.average_rate) for number in range(len(starts))]
    starts = torch.tensor(starts, dtype=torch.float64)
    starts = starts - (starts[0] if audio_start is None else audio_start)
    if (starts.diff() <= 0).any():
        raise ValueError(f"{name} has frames whose times do not increase; encode it again.")
    rate = stream.average_rate
    last = (
        starts[-1:] - starts[-2:-1] if len(starts) > 1 else torch.tensor([1 / float(rate) if rate else 0.04]).double()
    )
    ends = torch.cat([starts[1:], starts[-1:] + last])
    return torch.stack([starts.clamp(min=0), ends], dim=-1), ends > 0

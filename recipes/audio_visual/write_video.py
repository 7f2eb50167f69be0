"""Writes frames and samples as a video file, for the demonstration and the tests."""

from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(
    path: Path,
    frames: np.ndarray | None,
    frame_rate: int,
    samples: np.ndarray | None,
    sampling_rate: int,
    codecs: tuple[str, str] = ("mpeg4", "aac"),
) -> None:
    """Writes a video file; without frames or without samples it lacks that stream.

    Args:
        path: Its suffix is the container, such as .mp4 or .mkv.
        frames: (F, H, W, 3) uint8; height and width must be even.
        frame_rate: Frames per second.
        samples: (L,) float in [-1, 1].
        sampling_rate: In Hz.
        codecs: Of the frames and of the samples, by FFmpeg's names.
    """
    import av

    with av.open(str(path), "w") as container:
        if frames is not None:
            video = container.add_stream(codecs[0], rate=frame_rate)
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = "yuv420p"
            video.bit_rate = 2_000_000
        if samples is not None:
            audio = container.add_stream(codecs[1], rate=sampling_rate, layout="mono")
        for frame in frames if frames is not None else ():
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if frames is not None:
            container.mux(video.encode())
        if samples is not None:
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples, dtype=np.float32)[None], format="fltp", layout="mono"
            )
            block.sample_rate, block.time_base, block.pts = sampling_rate, Fraction(1, sampling_rate), 0
            resampler = av.AudioResampler(
                audio.format, audio.layout, sampling_rate, frame_size=audio.frame_size or 1024
            )
            for part in [*resampler.resample(block), *resampler.resample(None)]:
                container.mux(audio.encode(part))
            container.mux(audio.encode())

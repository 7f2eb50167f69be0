"""recipes/audio_visual/model/video_file.py: what PyAV reads, on the clock of the audio."""

from fractions import Fraction

import av as pyav
import numpy as np
import pytest
import torch

from recipes.audio_visual.model.video_file import read_video, video_streams
from recipes.audio_visual.write_video import write_video

FRAMES = np.arange(20, dtype=np.uint8).repeat(16 * 16 * 3).reshape(20, 16, 16, 3) * 12
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(12800) / 16000)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_a_file_gives_its_frames_their_times_and_its_samples(suffix, tmp_path):
    path = tmp_path / f"clip.{suffix}"
    write_video(path, FRAMES, 25, TONE, 16000)
    clip = read_video(path)
    assert clip.frames.shape == (20, 16, 16, 3) and clip.sampling_rate == 16000
    brightness = clip.frames.float().mean((1, 2, 3))
    assert (brightness - torch.arange(20) * 12).abs().max() < 8  # of a lossy codec
    torch.testing.assert_close(
        clip.frame_times[:, 1] - clip.frame_times[:, 0], torch.full((20,), 0.04).double(), atol=2e-3, rtol=0
    )
    assert abs(clip.frame_times[-1, 1] - 0.8) < 0.07 and abs(len(clip.samples) / 16000 - 0.8) < 0.15
    assert video_streams(path) == {"video", "audio"}


def test_stereo_is_mixed_down_and_integers_are_scaled(tmp_path):
    path = tmp_path / "clip.mkv"
    write_video(path, FRAMES, 25, TONE, 16000, ("ffv1", "pcm_s16le"))
    assert abs(read_video(path).samples.numpy() - TONE).max() < 1e-3
    stereo = np.stack([TONE, np.zeros_like(TONE)], 1)
    with pyav.open(str(tmp_path / "stereo.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="stereo")
        block = pyav.AudioFrame.from_ndarray(
            (stereo * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="stereo"
        )
        block.sample_rate = 16000
        container.mux([*stream.encode(block), *stream.encode()])
    assert abs(read_video(tmp_path / "stereo.wav").samples.numpy() - TONE / 2).max() < 1e-3


def test_frames_are_scaled_as_soon_as_they_are_decoded(tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES, 25, None, 16000)
    clip = read_video(tmp_path / "clip.mp4", (8, 4))
    assert clip.frames.shape == (20, 8, 4, 3) and clip.samples is None


def test_frames_last_until_the_next_one_also_at_an_uneven_rate(tmp_path):
    times = [0, 1, 4, 5, 9]
    with pyav.open(str(tmp_path / "uneven.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "bgr0"
        for frame, place in zip(FRAMES, times, strict=False):
            picture = pyav.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = place
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    found = read_video(tmp_path / "uneven.mkv").frame_times
    expected = torch.tensor([*times, 13]) * 0.04  # the last one as long as the one before it
    torch.testing.assert_close(found.float(), torch.stack([expected[:-1], expected[1:]], -1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("content", [b"", b"This is text.", b"\x00" * 5000, "cut"])
def test_a_file_that_is_no_video_is_one_sentence(content, tmp_path):
    path = tmp_path / "bad.mp4"
    write_video(path, FRAMES, 25, TONE, 16000)
    path.write_bytes(path.read_bytes()[:500] if content == "cut" else content)
    for read in (read_video, video_streams):
        with pytest.raises(ValueError, match=r"bad.mp4 can't be decoded \([^\n]*\); give a video file"):
            read(path)
        with pytest.raises(FileNotFoundError, match="none.mp4 does not exist"):
            read(tmp_path / "none.mp4")


def test_sound_after_missing_packets_stays_where_it_was(tmp_path):
    path, rate = tmp_path / "gap.mkv", 16000
    with pyav.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for block in (*range(10), *range(30, 40)):  # of 0.1 s; 2 s are missing
            samples = np.full((1, 1600), 16000 if block >= 30 else 0, np.int16)
            frame = pyav.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 1600 * block
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    samples = read_video(str(path)).samples
    assert abs(len(samples) - 4 * rate) < 0.01 * rate
    assert abs(int((samples > 0.2).float().argmax()) - 3 * rate) < 0.01 * rate

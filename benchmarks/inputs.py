"""The inputs of the benchmarks: real speech from examples/audio, in batches of several lengths."""

import functools
from pathlib import Path

import soundfile
import torch

from modeling_audio_branch import AudioBranchFeatureExtractor

AUDIO = Path(__file__).parents[1] / "examples" / "audio"
SAMPLE_RATE = 16000  # Hz


def mixed_seconds(count: int = 16, seed: int = 0) -> list[float]:
    """Durations as recordings have them: log-normal, 1 to 15 s."""
    seconds = torch.empty(count).log_normal_(1.3, 0.6, generator=torch.Generator().manual_seed(seed))
    return seconds.clamp(1, 15).tolist()


BATCHES = {"1 clip of 3 s": [3.0], "8 clips of 3 s": [3.0] * 8, "16 clips of 1 to 15 s": mixed_seconds()}


def recordings() -> list[Path]:
    """The wav and flac files in examples/audio."""
    return sorted(path for path in AUDIO.iterdir() if path.suffix in (".wav", ".flac"))


@functools.cache
def speech_features() -> torch.Tensor:
    """Log-mel frames (T, 80) of the 16 kHz recordings, concatenated."""
    extractor = AudioBranchFeatureExtractor()
    paths = [path for path in recordings() if soundfile.info(path).samplerate == SAMPLE_RATE]
    return torch.cat([extractor(path, return_tensors="pt").input_features[0, :-1] for path in paths])


def batch_of_features(seconds: list[float], device: str = "cpu", bins: int = 80, frames_per_second: float = 100):
    """Clips of these durations: frames (B, T, bins), zero where masked, and their mask (B, T).

    As in the output of the log-mel module, the last frame is never valid. Each clip starts at another frame of the
    recordings, which are repeated. For more than 80 bins the frames are projected at random.
    """
    lengths = torch.tensor([int(each * frames_per_second) for each in seconds])
    mask = torch.arange(int(lengths.max()) + 1) < lengths[:, None]
    recorded = speech_features()
    if bins != recorded.shape[1]:
        projection = torch.randn(recorded.shape[1], bins, generator=torch.Generator().manual_seed(0))
        recorded = recorded @ projection / recorded.shape[1] ** 0.5
    indices = 97 * torch.arange(len(seconds))[:, None] + torch.arange(mask.shape[1])
    frames = recorded[indices % len(recorded)] * mask.unsqueeze(-1)
    return frames.to(device), mask.to(device)

"""Segment features of the training clips by a frozen Whisper encoder, for `train` to learn from.

    python -m recipes.phrases.teacher whisper-base      # a folder in Transformers' format; 25 minutes on two cores

Whisper base stands in packages of PyPI under the MIT licence. Writes NAME.whisper.npy beside sets of clips in
data/phrases: (clips, 8, 512) in float16, the means of layer 5 over each eighth of a clip. Then fits a projection of
them on pairs of clips of one text (projection.py), and writes it, and NAME.teacher.npy: the projected unit vectors. The
pairs are of the free sets alone, so that a model which learns from no others is free, too.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from safetensors.torch import save_file
from torch.nn import functional as F
from torchaudio.functional import resample
from transformers import WhisperFeatureExtractor, WhisperModel

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError
from modeling_audio_branch.hub.writing import replaced_file

from .audio import SAMPLE_RATE
from .bfloat16 import use_bfloat16
from .clips import clip_path
from .dataset import load_set
from .projection import fit_projection, project

FREE_SETS = ("voices", "free")  # whose texts and voices anybody may use
PROJECTION = "projection", ".safetensors"  # beside the sets of clips
LAYER, SEGMENTS = 5, 8
RATE, HOP = 16000, 160  # Hz, samples of a log-mel frame; an encoder frame is two of them
WINDOWS = (*np.arange(1, 8, 0.5).tolist(), 8, 16, 30)  # seconds: a clip gets the first that it leaves half a second of
BATCH_SECONDS = 1024  # of windows at a time on a GPU; a sixteenth of them on a CPU


class WhisperTeacher:
    """A Whisper encoder on windows shorter than 30 s (its first positions).

    Args:
        folder: Of a WhisperModel in Transformers' format.
        device: Where it computes.
        layer: Whose output is taken; None is the last, after the final norm.
    """

    def __init__(self, folder: Path, device: torch.device, layer: int | None = LAYER):
        self.encoder = WhisperModel.from_pretrained(folder).encoder.eval().to(device)
        if layer is not None:
            self.encoder.layers = self.encoder.layers[:layer]
            self.encoder.layer_norm = torch.nn.Identity()
        use_bfloat16(self.encoder)
        self.positions = self.encoder.embed_positions.weight.data
        filters = WhisperFeatureExtractor(feature_size=self.encoder.config.num_mel_bins).mel_filters
        self.filters = torch.tensor(filters.T, dtype=torch.float32, device=device)  # (mels, 201)
        self.window, self.device = torch.hann_window(400, device=device), device

    def log_mel(self, waves: torch.Tensor) -> torch.Tensor:
        """Waves (B, L) at 16 kHz to log-mel frames (B, mels, L / 160), as `WhisperFeatureExtractor` makes them."""
        spectrum = torch.stft(waves, 400, HOP, window=self.window, return_complex=True)[..., :-1].abs().square()
        log = (self.filters @ spectrum).clamp(min=1e-10).log10()
        return (log.maximum(log.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    @torch.no_grad()
    def segments(self, clips: list[np.ndarray], window: float) -> torch.Tensor:
        """Clips at 8 kHz, each shorter than `window` seconds, to the means of their segments (B, 8, D)."""
        waves = torch.zeros(len(clips), int(window * SAMPLE_RATE))
        for row, clip in zip(waves, clips, strict=True):
            row[: len(clip)] = torch.from_numpy(clip)
        waves = resample(waves.to(self.device), SAMPLE_RATE, RATE)
        count = self.encoder.config.max_source_positions = int(window * RATE / HOP / 2)
        self.encoder.embed_positions = torch.nn.Embedding.from_pretrained(self.positions[:count])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            frames = self.encoder(self.log_mel(waves)).last_hidden_state.float()  # (B, T, D)
        lengths = [-(-len(clip) * RATE // SAMPLE_RATE // (2 * HOP)) for clip in clips]
        means = [
            F.adaptive_avg_pool1d(each[:length].T, SEGMENTS).T for each, length in zip(frames, lengths, strict=True)
        ]
        return torch.stack(means)

    def embed(self, clips: list[np.ndarray], description: str) -> np.ndarray:
        """The means of the segments of clips of up to 29.5 s, (N, 8, D) in float16, in their order."""
        seconds = np.array([len(clip) / SAMPLE_RATE for clip in clips])
        features = np.zeros((len(clips), SEGMENTS, self.encoder.config.d_model), np.float16)
        scale = 1 if self.device.type == "cuda" else 16
        for window, shorter in zip(WINDOWS, (0, *WINDOWS), strict=False):
            chosen = np.flatnonzero((seconds + 0.5 <= window) & (seconds + 0.5 > shorter))
            chosen = chosen[np.argsort(seconds[chosen])]
            size = max(1, int(BATCH_SECONDS / scale / window))
            starts = range(0, len(chosen), size)
            for start in track(starts, f"{description}, windows of {window} s", transient=True):
                batch = chosen[start : start + size]
                features[batch] = self.segments([clips[index] for index in batch], window).cpu().numpy()
        return features


def write_features(teacher: WhisperTeacher, name: str) -> np.ndarray:
    """The features of a set, from NAME.whisper.npy if it is there and newer than the clips; else it is written."""
    path = clip_path(name, ".whisper.npy")
    if not path.exists() or path.stat().st_mtime < clip_path(name, ".json").stat().st_mtime:
        features = teacher.embed([clip.waveform() for clip in load_set(name, with_teacher=False)], name)
        with exit_on_error(DiskError), replaced_file(path) as file:
            np.save(file, features)
    return np.load(path, mmap_mode="r")


def main(
    whisper: Annotated[Path, typer.Argument(help="Folder of a Whisper model in Transformers' format")],
    sets: Annotated[list[str], typer.Option(help="Further sets of clips, for training on them, too")] = [],  # noqa: B006
) -> None:
    """Writes a frozen Whisper encoder's features of the training clips, projected."""
    teacher = WhisperTeacher(whisper, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    features = {name: write_features(teacher, name) for name in dict.fromkeys((*FREE_SETS, *sets))}
    clips = [
        replace(clip, teacher=row)
        for name in FREE_SETS
        for clip, row in zip(load_set(name, with_teacher=False), features[name], strict=True)
    ]
    projection = fit_projection(clips)
    with exit_on_error(DiskError):
        for name, each in features.items():
            with replaced_file(clip_path(name, ".teacher.npy")) as file:
                np.save(file, project(each, projection))
        with replaced_file(clip_path(*PROJECTION)) as file:
            save_file(projection.state_dict(), file)


if __name__ == "__main__":
    typer.run(main)

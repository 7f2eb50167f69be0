"""Baselines of the evaluation: frozen Whisper encoders, averaged over 8 segments, and a model without its segments."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file

from modeling_audio_branch import AudioBranchModel

from .audio import SAMPLE_RATE
from .clips import clip_path
from .dataset import load_set
from .projection import new_projection
from .teacher import LAYER, PROJECTION, WINDOWS, WhisperTeacher

TRAINING_CLIPS = 900  # that standardise the features


@dataclass(frozen=True)
class OneSegment:
    """A model whose 8 segments are averaged to one."""

    model: AudioBranchModel

    def encode(self, clips: list[np.ndarray], **options) -> SimpleNamespace:
        """The same `segment_features` (N, 1, D) for any order of what is said."""
        return SimpleNamespace(segment_features=self.model.encode(clips, **options).pooler_output.unsqueeze(1))


class WhisperFeatures:
    """A Whisper encoder's segments of clips at 8 kHz, which are computed once, however many baselines ask for them.

    Args:
        folder: Of a WhisperModel in Transformers' format.
        layer: Whose output is taken; None is the last, after the final norm.
    """

    def __init__(self, folder: Path, layer: int | None):
        self.teacher = WhisperTeacher(folder, torch.device("cpu"), layer)
        self.known = {}  # digest of a clip's samples -> its segments (8, D) in float16

    def __call__(self, clips: list[np.ndarray]) -> torch.Tensor:
        """Segments (N, 8, D); what is beyond 29.5 s is left out."""
        digests = [hashlib.sha256(clip.tobytes()).digest() for clip in clips]
        new = {digest: clip for digest, clip in zip(digests, clips, strict=True) if digest not in self.known}
        if new:
            longest = int((WINDOWS[-1] - 0.5) * SAMPLE_RATE)
            features = self.teacher.embed([clip[:longest] for clip in new.values()], "Frozen Whisper")
            self.known |= zip(new, features, strict=True)
        return torch.from_numpy(np.stack([self.known[digest] for digest in digests])).float()


@dataclass(frozen=True)
class FrozenWhisper:
    """A frozen Whisper encoder with an `encode` like a model's, and what happens to its segments."""

    features: WhisperFeatures
    transform: Callable[[torch.Tensor], torch.Tensor] = torch.nn.Identity()

    @torch.no_grad()
    def encode(self, clips: list[np.ndarray], **_) -> SimpleNamespace:
        """Segment features (N, 8, D) of clips at 8 kHz."""
        return SimpleNamespace(segment_features=self.transform(self.features(clips)))


def standardise(features: WhisperFeatures) -> FrozenWhisper:
    """Standardised by mean and deviation of each component over segments of training recordings."""
    clips = load_set("recordings", with_teacher=False)
    chosen = random.Random(0).sample(clips, min(TRAINING_CLIPS, len(clips)))
    segments = features([clip.waveform() for clip in chosen]).flatten(0, 1)
    mean, deviation = segments.mean(0), segments.std(0)
    return FrozenWhisper(features, lambda each: (each - mean) / deviation)


def fit(features: WhisperFeatures, projection: Path) -> FrozenWhisper:
    """With the projection that `teacher` fitted on pairs."""
    state = load_file(projection)
    transform = new_projection(len(state["1.bias"]))
    transform.load_state_dict(state)
    return FrozenWhisper(features, transform)


def parse_encoder(name: str) -> tuple[str, int]:
    """FOLDER:LAYER of an option `--whisper`; the layer -1 is the last, after the final norm.

    Raises:
        ValueError: The name has another form.
    """
    folder, _, layer = name.rpartition(":")
    if not folder or not layer.lstrip("-").isdigit():
        raise ValueError(f"--whisper {name} was given; give FOLDER:LAYER, such as whisper-base:5.")
    return folder, int(layer)


def whisper_baselines(name: str) -> dict[str, FrozenWhisper]:
    """The baselines of an encoder given as FOLDER:LAYER, by the names of their rows.

    As it is, and standardised; the teacher's layer also with the projection fitted on pairs, if there is one.

    Raises:
        ValueError: The name has another form.
    """
    folder, layer = parse_encoder(name)
    layer = None if layer < 0 else layer
    row = f"{Path(folder).name}, {'last layer' if layer is None else f'layer {layer}'}"
    features = WhisperFeatures(Path(folder), layer)
    rows = {row: FrozenWhisper(features), f"{row}, standardised": standardise(features)}
    path = clip_path(*PROJECTION)
    if layer == LAYER and path.exists():
        rows[f"{row}, fitted on pairs"] = fit(features, path)
    return rows

"""Baselines of the evaluation: frozen Whisper encoders, averaged over 8 segments, and a model without its segments."""

import random
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


class FrozenWhisper:
    """A Whisper encoder with an `encode` like a model's; standardised, or projected, if one of the methods was called.

    Args:
        folder: Of a WhisperModel in Transformers' format.
        layer: Whose output is taken; None is the last, after the final norm.
    """

    def __init__(self, folder: Path, layer: int | None):
        self.teacher = WhisperTeacher(folder, torch.device("cpu"), layer)
        self.transform = torch.nn.Identity()

    def standardised(self) -> "FrozenWhisper":
        """Takes mean and deviation of each feature over segments of training recordings; returns itself."""
        clips = load_set("recordings", with_teacher=False)
        chosen = random.Random(0).sample(clips, min(TRAINING_CLIPS, len(clips)))
        features = self.encode([clip.waveform() for clip in chosen]).segment_features.flatten(0, 1)
        mean, deviation = features.mean(0), features.std(0)
        self.transform = lambda features: (features - mean) / deviation
        return self

    def projected(self, path: Path) -> "FrozenWhisper":
        """Takes the projection that `teacher` fitted on pairs; returns itself."""
        state = load_file(path)
        self.transform = new_projection(len(state["1.bias"]))
        self.transform.load_state_dict(state)
        return self

    @torch.no_grad()
    def encode(self, clips: list[np.ndarray], **_) -> SimpleNamespace:
        """Segment features (N, 8, D) of clips at 8 kHz; what is beyond 29.5 s is left out."""
        longest = int((WINDOWS[-1] - 0.5) * SAMPLE_RATE)
        features = self.teacher.embed([clip[:longest] for clip in clips], "Frozen Whisper")
        return SimpleNamespace(segment_features=self.transform(torch.from_numpy(features).float()))


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
    raw = FrozenWhisper(Path(folder), layer)
    rows = {row: raw, f"{row}, standardised": FrozenWhisper(Path(folder), layer).standardised()}
    path = clip_path(*PROJECTION)
    if layer == LAYER and path.exists():
        rows[f"{row}, fitted on pairs"] = FrozenWhisper(Path(folder), layer).projected(path)
    return rows

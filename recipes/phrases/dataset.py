"""Pairs of clips of the same text, and their collation into batches."""

from dataclasses import dataclass

import numpy as np
import torch

from modeling_audio_branch.audio_input import pad_batch
from modeling_audio_branch.masks import checked_mask

from .augment import augment
from .clips import ClipRecord


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """A record, and the samples of all clips of its source in int16."""

    record: ClipRecord
    source: np.ndarray

    def waveform(self) -> np.ndarray:
        """Samples (L,) in float32, from -1 to 1."""
        end = self.record.start + self.record.length
        return self.source[self.record.start : end].astype(np.float32) / 2**15


class PhrasePairs(torch.utils.data.Dataset):
    """An item is a text: two of its clips, chosen and augmented anew each time.

    Args:
        sources: (records, samples) as `load_clips` returns them. A text of several sources is one item.
    """

    def __init__(self, *sources: tuple[list[ClipRecord], np.ndarray]):
        clips = {}  # (language, text) -> its clips
        for records, samples in sources:
            for record in records:
                clips.setdefault((record.language, record.text), []).append(TrainingClip(record, samples))
        self.texts = [of_text for of_text in clips.values() if len(of_text) > 1]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        # Seeded by torch, whose seed differs between the workers and epochs of a DataLoader.
        generator = np.random.default_rng(torch.randint(2**31, ()).item())
        first, second = choose_pair(self.texts[index], generator)
        return augment(first.waveform(), generator), augment(second.waveform(), generator)


def choose_pair(clips: list[TrainingClip], generator: np.random.Generator) -> tuple[TrainingClip, TrainingClip]:
    """Two clips of a text, of different voices if there are any; the first by a person in three of four pairs."""
    humans = [clip for clip in clips if not clip.record.is_synthesized]
    synthesized = [clip for clip in clips if clip.record.is_synthesized]
    choices = humans if not synthesized or (humans and generator.random() < 0.75) else synthesized
    first = choices[generator.integers(len(choices))]
    others = [clip for clip in clips if clip.record.voice != first.record.voice]
    others = others or [clip for clip in clips if clip is not first]
    return first, others[generator.integers(len(others))]


def collate(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, torch.Tensor]:
    """N pairs to raw audio (2 N, L) and its mask (2 N, L); the clips of a pair are at i and i + N."""
    waves = [torch.from_numpy(pair[side]) for side in (0, 1) for pair in pairs]
    waveform, mask, _ = pad_batch(waves)
    return {"input_features": waveform, "attention_mask": checked_mask(mask, waveform.shape, waveform.device)[0]}

"""Pairs of clips of the same text, and their collation into batches."""

from dataclasses import dataclass

import numpy as np
import torch

from modeling_audio_branch.audio_input import pad_batch
from modeling_audio_branch.masks import checked_mask

from .audio import SAMPLE_RATE
from .augment import augment
from .clips import ClipRecord, clip_path, load_clips

COMMANDS = {"recordings": "prepare", "unlabelled": "prepare", "words": "words", "voices": "neural_voices"}
CONTEXT = 0.3  # of the clips are heard inside a longer recording


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """A record, the samples of all clips of its source in int16, and the teacher's features (8, D) if there are any."""

    record: ClipRecord
    source: np.ndarray
    teacher: np.ndarray | None = None

    def waveform(self) -> np.ndarray:
        """Samples (L,) in float32, from -1 to 1."""
        end = self.record.start + self.record.length
        return self.source[self.record.start : end].astype(np.float32) / 2**15


@dataclass(frozen=True, eq=False)
class Example:
    """An augmented clip: samples (L,), where the clip is in them in seconds, and the teacher's features of it."""

    samples: np.ndarray
    span: tuple[float, float]
    teacher: np.ndarray | None = None


def load_set(name: str, with_teacher: bool) -> list[TrainingClip]:
    """The clips that `python -m recipes.phrases.COMMAND` has written.

    Raises:
        SystemExit: They, or the teacher's features of them, are missing.
    """
    records, samples = load_clips(name, COMMANDS.get(name, "synthesize"))
    teachers = [None] * len(records)
    if with_teacher:
        path = clip_path(name, ".teacher.npy")
        if not path.exists():
            raise SystemExit(f"{path} is missing; run python -m recipes.phrases.teacher, or train without a teacher.")
        teachers = np.load(path, mmap_mode="r")
    return [TrainingClip(record, samples, teacher) for record, teacher in zip(records, teachers, strict=True)]


class PhrasePairs(torch.utils.data.Dataset):
    """An item is a text: two of its clips, chosen and augmented anew each time.

    Args:
        clips: Of all sources. A text of several sources is one item. A text of one clip is paired with itself,
            augmented in another way.
        context: Part of the clips that are heard inside a longer recording.
    """

    def __init__(self, clips: list[TrainingClip], context: float = CONTEXT):
        self.context = context
        texts, self.voices = {}, {}  # (language, text) -> its clips; (language, voice) -> its clips
        for clip in clips:
            texts.setdefault((clip.record.language, clip.record.text), []).append(clip)
            self.voices.setdefault((clip.record.language, clip.record.voice), []).append(clip)
        self.texts = list(texts.values())

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[Example, Example]:
        # Seeded by torch, whose seed differs between the workers and epochs of a DataLoader.
        generator = np.random.default_rng(torch.randint(2**31, ()).item())
        return tuple(self.example(clip, generator) for clip in choose_pair(self.texts[index], generator))

    def example(self, clip: TrainingClip, generator: np.random.Generator) -> Example:
        """A clip, augmented, perhaps between others by the same voice."""
        around = None
        if generator.random() < self.context:
            others = self.voices[clip.record.language, clip.record.voice]
            around = tuple(others[generator.integers(len(others))].waveform() for _ in range(2))
        samples, first, last = augment(clip.waveform(), generator, around)
        return Example(samples, (first / SAMPLE_RATE, last / SAMPLE_RATE), clip.teacher)


def choose_pair(clips: list[TrainingClip], generator: np.random.Generator) -> tuple[TrainingClip, TrainingClip]:
    """Two clips of a text, of different voices if there are any; the first not by espeak-ng in three of four pairs."""
    humans = [clip for clip in clips if not clip.record.is_espeak]
    synthesized = [clip for clip in clips if clip.record.is_espeak]
    choices = humans if not synthesized or (humans and generator.random() < 0.75) else synthesized
    first = choices[generator.integers(len(choices))]
    others = [clip for clip in clips if clip.record.voice != first.record.voice]
    others = others or [clip for clip in clips if clip is not first] or clips
    return first, others[generator.integers(len(others))]


def collate(pairs: list[tuple[Example, Example]]) -> dict[str, torch.Tensor]:
    """N pairs to raw audio (2 N, L), its mask (2 N, L), spans (2 N, 1, 2) in seconds, and, if all have them, the
    teacher's features (2 N, 8, D); the clips of a pair are at i and i + N.
    """
    examples = [pair[side] for side in (0, 1) for pair in pairs]
    waveform, mask, _ = pad_batch([torch.from_numpy(example.samples) for example in examples])
    batch = {"input_features": waveform, "attention_mask": checked_mask(mask, waveform.shape, waveform.device)[0]}
    batch["spans"] = torch.tensor([[example.span] for example in examples])
    if all(example.teacher is not None for example in examples):
        batch["teacher"] = torch.from_numpy(np.stack([example.teacher for example in examples])).float()
    return batch

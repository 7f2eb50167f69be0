"""Recordings to batches: a data set that holds paths, and the collator that decodes, augments and pads."""

import datasets
import torch

from modeling_audio_branch.audio_input import load_audio, pad_batch
from modeling_audio_branch.masks import checked_mask
from recipes.emotion.augmentation import Augmentation
from recipes.emotion.recordings import Recording


def make_dataset(recordings: list[Recording], labels: list[str], rate: int, augment: bool = False) -> datasets.Dataset:
    """Rows for `Collator`. They hold the length in samples, so that grouping by length reads no audio."""
    audio = [recording.audio for recording in recordings]
    return datasets.Dataset.from_dict(
        {
            "path": [None if isinstance(each, bytes) else str(each) for each in audio],
            "bytes": [each if isinstance(each, bytes) else None for each in audio],
            "labels": [labels.index(recording.label) for recording in recordings],
            "length": [int(rate * recording.seconds) for recording in recordings],
            "augment": [augment] * len(recordings),
        }
    )


class Collator:
    """Decodes, augments and pads: raw audio (B, L), its mask (B, L), and labels (B,)."""

    def __init__(self, rate: int):
        self.rate, self.augmentation = rate, Augmentation(rate)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        waves = [load_audio(row["bytes"] or row["path"], self.rate) for row in rows]
        waves = [self.augmentation(wave) if row["augment"] else wave for wave, row in zip(waves, rows, strict=True)]
        waveform, mask, _ = pad_batch(waves)  # data-parallel training would not divide a list of lengths
        mask, _ = checked_mask(mask, waveform.shape, waveform.device)
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_features": waveform, "attention_mask": mask, "labels": labels}

"""Rows to batches: of both sides that are in memory already, and of video files.

B clips, L samples or T log-mel frames, F frames, H x W pixels.
"""

import torch
from torch.nn.utils.rnn import pad_sequence

from recipes.audio_visual.model import AudioVisualProcessor

INPUTS = {
    "audio": ("input_features", "attention_mask"),
    "video": ("pixel_values", "frame_times", "video_mask"),
}


def pad_rows(rows: list[dict]) -> dict[str, torch.Tensor]:
    """Rows of tensors without the axis of the batch, with `labels`, to a batch padded with zeros."""
    batch = {name: pad_sequence([row[name] for row in rows], batch_first=True) for name in rows[0] if name != "labels"}
    return batch | {"labels": torch.tensor([row["labels"] for row in rows])}


def only(rows: list[dict], side: str) -> list[dict]:
    """The rows without the other side: `audio`, `video`, or `both` for all."""
    if side == "both":
        return rows
    return [{name: value for name, value in row.items() if name in (*INPUTS[side], "labels")} for row in rows]


class VideoCollator:
    """Decodes video files: rows of `path`, `labels` and `sides` to the processor's output and labels (B,)."""

    def __init__(self, processor: AudioVisualProcessor):
        self.processor = processor

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = dict(self.processor(videos=[row["path"] for row in rows]))
        for side, names in INPUTS.items():
            if rows[0]["sides"] not in ("both", side):
                batch = {name: value for name, value in batch.items() if name not in names}
        return batch | {"labels": torch.tensor([row["labels"] for row in rows])}

"""The settings of a training on video files, which results.json lists."""

from dataclasses import dataclass
from typing import Literal

from huggingface_hub.dataclasses import strict


@strict
@dataclass
class TrainingSettings:
    """How a fold is trained. A field of another type is refused.

    Args:
        audio: Audio Branch checkpoint to start from: a folder or a Hub id.
        video: Image or video encoder of Transformers to start from: a folder or a Hub id.
        fusion, fusion_dim, frames_per_segment, modality_dropout, freeze_audio, freeze_video: Settings of
            [`AudioVisualConfig`].
        epochs: Passes over the training clips.
        steps: Optimizer steps in place of `epochs`; -1 means `epochs`.
        batch_size: Clips for each process and forward pass.
        accumulate: Batches for one optimizer step.
        learning_rate: Of all parameters.
        label_smoothing: Share of the target that is spread over all labels.
        workers: Processes that decode videos.
        bf16: Train in bfloat16.
    """

    audio: str
    video: str
    fusion: Literal["concat", "gated", "cross_attention", "liquid"] = "cross_attention"
    fusion_dim: int = 128
    frames_per_segment: int = 2
    modality_dropout: float = 0.2
    freeze_audio: bool = False
    freeze_video: bool = True
    epochs: float = 20.0
    steps: int = -1
    batch_size: int = 8
    accumulate: int = 2
    learning_rate: float = 3e-4
    label_smoothing: float = 0.1
    workers: int = 0
    bf16: bool = False

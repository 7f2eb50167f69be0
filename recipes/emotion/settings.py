"""The settings of a fine-tuning, which results.json lists."""

from dataclasses import dataclass

from huggingface_hub.dataclasses import strict


@strict
@dataclass
class TrainingSettings:
    """How a fold is trained. A field of another type is refused.

    Args:
        checkpoint: Audio Branch checkpoint to start from: a folder or a Hub id.
        epochs: Passes over the training clips.
        steps: Optimizer steps in place of `epochs`; -1 means `epochs`.
        batch_size: Clips for each process and forward pass.
        accumulate: Batches for one optimizer step.
        learning_rate: Of the pooling and the classifier.
        layer_decay: Learning rate of a layer divided by that of the next one.
        lora: Train low-rank adapters of the encoder's attention, and keep the encoder itself frozen.
        freeze_epochs: Epochs for which the encoder is frozen; -1 means always.
        class_weights: Weight each label by the inverse of its frequency.
        label_smoothing: Share of the target that is spread over all labels.
        augment: Change the speed, add noise and limit the bandwidth of training clips.
        spec_augment: Mask spans of time and frequency of training clips.
        bf16: Train in bfloat16.
        checkpointing: Gradient checkpointing, which computes activations twice to save memory.
    """

    checkpoint: str
    epochs: float = 20.0
    steps: int = -1
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 3e-4
    layer_decay: float = 0.8
    lora: bool = False
    freeze_epochs: float = 1.0
    class_weights: bool = True
    label_smoothing: float = 0.1
    augment: bool = True
    spec_augment: bool = False
    bf16: bool = False
    checkpointing: bool = False

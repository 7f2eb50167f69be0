"""Transformers' Trainer for speech: class weights, a learning rate for each layer, and an encoder frozen at first."""

import torch
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback

from modeling_audio_branch import AudioBranchModel

# TrainingArguments that several processes need, so that they agree on the batches and on the gradients.
DISTRIBUTED_ARGUMENTS = {
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "length",
    "remove_unused_columns": False,
    "ddp_find_unused_parameters": False,
    "accelerator_config": {"use_seedable_sampler": False},  # True would let each process group the clips differently
}


class SpeechTrainer(Trainer):
    """Trainer with weighted classes, label smoothing, and learning rates that fall towards the input.

    Args:
        class_weights: (number of labels,) weight of each label in the loss; None means 1.
        layer_decay: Learning rate of a layer divided by that of the next one (see `layer_groups`).
        *arguments, **kwargs: As Trainer takes them.
    """

    def __init__(self, *arguments, class_weights: torch.Tensor | None = None, layer_decay: float = 1.0, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.class_weights, self.layer_decay = class_weights, layer_decay

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        labels = inputs["labels"]  # (B,)
        output = model(**{name: value for name, value in inputs.items() if name != "labels"})
        smoothing = self.args.label_smoothing_factor if model.training else 0.0
        losses = F.cross_entropy(output.logits.float(), labels, label_smoothing=smoothing, reduction="none")
        if self.class_weights is not None:
            # Not divided by the sum of the weights in the batch: accumulated batches then equal one large batch.
            losses = losses * self.class_weights.to(losses.device)[labels]
        loss = losses.mean()
        return (loss, output) if return_outputs else loss

    def create_optimizer(self, model=None):
        """AdamW over all parameters, including those that are unfrozen later."""
        if self.optimizer is None:
            groups = layer_groups(self.model, self.args.learning_rate, self.layer_decay, self.args.weight_decay)
            self.optimizer = torch.optim.AdamW(groups)
        return self.optimizer


def layer_groups(model, learning_rate: float, decay: float, weight_decay: float) -> list[dict]:
    """Parameter groups whose learning rate shrinks by `decay` with each layer towards the input.

    This is the discriminative fine-tuning of Howard and Ruder (2018). Biases and norms have no weight decay.

    Raises:
        ValueError: The layers of the encoder are unknown.
    """
    # A search, since peft wraps the model.
    encoder = next(module for module in model.modules() if isinstance(module, AudioBranchModel)).encoder
    depths = {id(parameter): 0 for parameter in encoder.parameters()}
    for depth, layer in enumerate(encoder.layers, start=1):
        depths |= {id(parameter): depth for parameter in layer.parameters()}
    head_depth, groups = len(encoder.layers) + 1, {}
    for parameter in model.parameters():
        key = (depths.get(id(parameter), head_depth), 0.0 if parameter.ndim < 2 else weight_decay)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * decay ** (head_depth - depth), "weight_decay": group_weight_decay}
        for (depth, group_weight_decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


class UnfreezeEncoderCallback(TrainerCallback):
    """Freezes the encoder, and trains it from an epoch on.

    Until then its gradients are computed and dropped. DistributedDataParallel averages only the gradients of parameters
    that require one when the training begins, so an encoder with requires_grad=False would later differ between the
    processes.
    """

    def __init__(self, model, epoch: float):
        self.epoch, self.is_frozen = epoch, True
        model.freeze("encoder")
        self.parameters = [*model.base_model.encoder.parameters()]
        for parameter in self.parameters:
            parameter.requires_grad_(True)
            parameter.register_hook(lambda gradient: torch.zeros_like(gradient) if self.is_frozen else None)

    def on_step_begin(self, arguments, state, control, model=None, **_):
        if self.is_frozen and state.epoch >= self.epoch:
            self.is_frozen = False
            model.unfreeze("encoder")

    def on_pre_optimizer_step(self, arguments, state, control, **_):
        if self.is_frozen:  # a gradient of 0 would still decay the weights
            for parameter in self.parameters:
                parameter.grad = None

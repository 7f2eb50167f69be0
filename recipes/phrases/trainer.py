"""Contrastive training of segment features with transformers' Trainer, helped by a teacher."""

import json
import time

import torch
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback

from .development import DevelopmentSets
from .sampler import LengthBucketBatchSampler

TEMPERATURE = 0.05
TEACHER_TEMPERATURE = 0.1
WIDTHS = (64, 128, 256, 512)  # first numbers of a segment that are trained to be used alone
TAUGHT = 0.7  # of the training: the part in which the teacher's weight falls to 0


def info_nce(segment_features: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748) in both directions.

    Args:
        segment_features: (2 N, S, D). Clips i and i + N are a pair; all other clips of the batch are negatives.
        temperature: Divides the similarity, which is the mean cosine of the segments in order.

    Returns:
        The loss, a scalar.
    """
    first, second = F.normalize(segment_features, dim=-1).flatten(1).chunk(2)  # (N, S D) each
    logits = first @ second.T / (segment_features.shape[1] * temperature)
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def matryoshka_info_nce(segment_features: torch.Tensor) -> torch.Tensor:
    """The mean InfoNCE of the first 64, 128, ... numbers of each segment (Kusupati et al. 2022)."""
    widths = [width for width in WIDTHS if width < segment_features.shape[-1]] + [segment_features.shape[-1]]
    return torch.stack([info_nce(segment_features[..., :width]) for width in widths]).mean()


def relation_loss(segment_features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """How unlike the teacher's the similarities of all segments of a batch are (relational distillation; Park et al.
    2019): the cross entropy of the softmax of each segment's cosines to all others.

    Args:
        segment_features: (B, S, D).
        teacher: (B, S, E).
    """
    logits = []
    for features in (segment_features, teacher):
        unit = F.normalize(features.float(), dim=-1).flatten(0, 1)  # (B S, D)
        cosines = unit @ unit.T / TEACHER_TEMPERATURE
        logits.append(cosines.fill_diagonal_(torch.finfo(cosines.dtype).min))
    return F.cross_entropy(logits[0], logits[1].softmax(-1))


class PhraseTrainer(Trainer):
    """Trainer with InfoNCE over batches of about `batch_seconds` of speech on either side of the pairs."""

    def __init__(self, *args, batch_seconds: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.batch_seconds = batch_seconds

    def get_train_dataloader(self):
        batches = LengthBucketBatchSampler(self.train_dataset, self.batch_seconds, self.args.seed)
        loader = torch.utils.data.DataLoader(
            self.train_dataset,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=self.args.dataloader_num_workers > 0,
            prefetch_factor=4 if self.args.dataloader_num_workers else None,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        teacher = inputs.pop("teacher", None)
        out = model(**inputs)
        features = out.segment_features.squeeze(1).float()  # (2 N, 1, S, D) to (2 N, S, D)
        loss = matryoshka_info_nce(features)
        weight = 1.0 - self.state.global_step / (TAUGHT * self.state.max_steps)
        if teacher is not None and weight > 0:
            loss = loss + weight * relation_loss(features, teacher)
        return (loss, out) if return_outputs else loss


class DevRetrievalCallback(TrainerCallback):
    """Measures recall on the development sets every `every` steps, and stops the training after `minutes`."""

    def __init__(self, minutes: float, every: int):
        self.stop_time, self.every = time.time() + 60 * minutes, every
        self.sets = DevelopmentSets() if every else None

    def on_step_end(self, args, state, control, model=None, **_):
        if self.every and state.global_step % self.every == 0:
            state.log_history.append({"step": state.global_step, "development": self.sets.measure(model)})
            print(json.dumps(state.log_history[-1]), flush=True)
        if time.time() > self.stop_time:
            control.should_save = control.should_training_stop = True
        return control

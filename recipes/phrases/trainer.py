"""Contrastive training of segment features with transformers' Trainer."""

import itertools
import json
import time

import torch
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback

from ..debian_audio import kajongg_phrases
from .audio import read_speech
from .embedding import embed
from .metrics import mean_segment_cosine, recall_at_k
from .sampler import LengthBucketBatchSampler

TEMPERATURE = 0.05


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


class PhraseTrainer(Trainer):
    """Trainer with InfoNCE over batches of about `batch_seconds` of speech on either side of the pairs."""

    def __init__(self, *args, batch_seconds: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.batch_seconds = batch_seconds

    def get_train_dataloader(self):
        batches = LengthBucketBatchSampler(self.train_dataset, self.batch_seconds, self.args.seed)
        loader = torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator, num_workers=1
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        out = model(**inputs)
        loss = info_nce(out.segment_features)
        return (loss, out) if return_outputs else loss


class DevRetrievalCallback(TrainerCallback):
    """Measures recall on Kajongg's phrases every `every` steps, and stops the training after `minutes`."""

    def __init__(self, minutes: float, every: int):
        self.stop_time, self.every = time.time() + 60 * minutes, every
        self.languages = [
            [[read_speech(path) for path in speaker] for speaker in speakers] for speakers in kajongg_phrases().values()
        ]

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step % self.every == 0:
            state.log_history.append({"step": state.global_step, "development": self.measure(model)})
            print(json.dumps(state.log_history[-1]), flush=True)
        if time.time() > self.stop_time:
            control.should_save = control.should_training_stop = True
        return control

    def measure(self, model) -> dict[str, float]:
        """R@1 and R@5 in percent over all pairs of speakers of a language."""
        was_training = model.training
        model.eval()
        embedded = [[embed(model, clips) for clips in speakers] for speakers in self.languages]
        model.train(was_training)
        scores = [mean_segment_cosine(*pair) for each in embedded for pair in itertools.combinations(each, 2)]
        recall = {k: torch.cat([recall_at_k(each, k) for each in scores]).mean().item() for k in (1, 5)}
        return {f"R@{k}": round(100 * value, 1) for k, value in recall.items()}

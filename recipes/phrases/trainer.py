"""Contrastive training of segment features with transformers' Trainer, helped by a teacher."""

import json
import time

import torch
from transformers import Trainer, TrainerCallback

from .development import DevelopmentSets
from .losses import matryoshka_info_nce, teacher_loss
from .muon import MuonAndAdamW
from .sampler import LengthBucketBatchSampler


class PhraseTrainer(Trainer):
    """Trainer with InfoNCE over batches of about `batch_seconds` of speech on either side of the pairs."""

    def __init__(self, *args, batch_seconds: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.batch_seconds = batch_seconds

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            self.optimizer = MuonAndAdamW(self.model, self.args.learning_rate, self.args.weight_decay)
        return self.optimizer

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
        if teacher is not None:
            loss = loss + teacher_loss(features, teacher)
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

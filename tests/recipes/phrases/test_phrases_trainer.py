"""The loss of a step."""

from types import SimpleNamespace

import pytest
import torch

from recipes.phrases.losses import matryoshka_info_nce, teacher_loss
from recipes.phrases.trainer import PhraseTrainer


@pytest.mark.parametrize(("step", "weight"), [(0, 1.0), (80, 1.0), (90, 0.5), (100, 0.0)])
def test_the_teachers_weight_falls_to_0_in_the_last_fifth(step, weight):
    trainer = PhraseTrainer.__new__(PhraseTrainer)
    trainer.state = SimpleNamespace(global_step=step, max_steps=100)
    features, teacher = torch.randn(6, 3, 16), torch.randn(6, 3, 16)

    def model(spans):
        return SimpleNamespace(segment_features=features.unsqueeze(1))

    alone = matryoshka_info_nce(features)
    expected = alone + weight * teacher_loss(features, teacher)
    torch.testing.assert_close(trainer.compute_loss(model, {"teacher": teacher, "spans": None}), expected)
    torch.testing.assert_close(trainer.compute_loss(model, {"spans": None}), alone)

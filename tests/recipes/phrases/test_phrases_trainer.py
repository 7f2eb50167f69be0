"""The loss of a step."""

from types import SimpleNamespace

import torch

from recipes.phrases.losses import matryoshka_info_nce, teacher_loss
from recipes.phrases.trainer import PhraseTrainer


def test_the_teachers_loss_is_added_where_there_is_a_teacher():
    trainer = PhraseTrainer.__new__(PhraseTrainer)
    features, teacher = torch.randn(6, 3, 16), torch.randn(6, 3, 16)

    def model(spans):
        return SimpleNamespace(segment_features=features.unsqueeze(1))

    alone = matryoshka_info_nce(features)
    expected = alone + teacher_loss(features, teacher)
    torch.testing.assert_close(trainer.compute_loss(model, {"teacher": teacher, "spans": None}), expected)
    torch.testing.assert_close(trainer.compute_loss(model, {"spans": None}), alone)

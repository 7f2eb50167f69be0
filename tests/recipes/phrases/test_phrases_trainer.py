"""The losses."""

import torch
from torch.nn import functional as F

from recipes.phrases.trainer import info_nce, matryoshka_info_nce, relation_loss


def test_the_loss_is_the_cross_entropy_of_finding_the_partner_in_both_directions():
    features = torch.randn(10, 3, 8)
    unit = F.normalize(features, dim=-1)
    logits = torch.stack([torch.stack([(a * b).sum(-1).mean() for b in unit[5:]]) for a in unit[:5]]) / 0.05
    expected = -(logits.log_softmax(0).diagonal().mean() + logits.log_softmax(1).diagonal().mean()) / 2
    torch.testing.assert_close(info_nce(features), expected)
    pairs = torch.cat([features[:5], features[:5] + 0.01 * torch.randn(5, 3, 8)])
    assert info_nce(pairs) < 0.1 * info_nce(pairs[torch.tensor([*range(5), 6, 7, 8, 9, 5])])


def test_the_first_numbers_of_a_segment_are_trained_to_be_used_alone():
    features = torch.randn(10, 3, 200, requires_grad=True)
    expected = (info_nce(features[..., :64]) + info_nce(features[..., :128]) + info_nce(features)) / 3
    torch.testing.assert_close(matryoshka_info_nce(features), expected)
    (gradient,) = torch.autograd.grad(matryoshka_info_nce(features), features)
    power = gradient.square().mean((0, 1))
    assert power[:64].mean() > 2 * power[128:].mean()


def test_the_teachers_similarities_are_learnt_and_not_its_features():
    teacher = torch.randn(6, 8, 16)
    rotation = torch.linalg.qr(torch.randn(16, 16))[0]
    rotated = relation_loss(3.0 * teacher @ rotation, teacher)  # other features, the same cosines
    torch.testing.assert_close(rotated, relation_loss(teacher, teacher))
    assert rotated < relation_loss(torch.randn(6, 8, 16), teacher)
    student = torch.randn(6, 8, 16, requires_grad=True)
    before = relation_loss(student, teacher)
    for _ in range(100):
        (gradient,) = torch.autograd.grad(relation_loss(student, teacher), student)
        student = (student - 5.0 * gradient).detach().requires_grad_()
    assert relation_loss(student, teacher) - rotated < 0.5 * (before - rotated)

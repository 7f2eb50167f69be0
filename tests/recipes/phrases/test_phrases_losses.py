"""The losses."""

import torch
from torch.nn import functional as F

from recipes.phrases.losses import info_nce, matryoshka_info_nce, teacher_loss


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


def test_a_clip_has_to_resemble_the_teachers_embedding_of_itself_and_to_find_that_of_its_partner():
    clip, teacher = torch.randn(6, 3, 16), torch.randn(6, 3, 16)
    torch.testing.assert_close(teacher_loss(3.0 * clip, 0.1 * teacher), teacher_loss(clip, teacher))  # directions alone
    unit, keys = F.normalize(clip, dim=-1), F.normalize(teacher, dim=-1)
    expected = 10 * (1 - (unit * keys).sum(-1).mean())
    for i, partner in enumerate([3, 4, 5, 0, 1, 2]):
        others = [j for j in range(6) if j != i]
        logits = torch.stack([(unit[i] * keys[j]).sum(-1).mean() / 0.05 for j in others])
        expected = expected - logits.log_softmax(0)[others.index(partner)] / 6
    torch.testing.assert_close(teacher_loss(clip, teacher), expected)

"""The contrastive loss."""

import torch
from torch.nn import functional as F

from recipes.phrases.trainer import info_nce


def test_the_loss_is_the_cross_entropy_of_finding_the_partner_in_both_directions():
    features = torch.randn(10, 3, 8)
    unit = F.normalize(features, dim=-1)
    logits = torch.stack([torch.stack([(a * b).sum(-1).mean() for b in unit[5:]]) for a in unit[:5]]) / 0.05
    expected = -(logits.log_softmax(0).diagonal().mean() + logits.log_softmax(1).diagonal().mean()) / 2
    torch.testing.assert_close(info_nce(features), expected)
    pairs = torch.cat([features[:5], features[:5] + 0.01 * torch.randn(5, 3, 8)])
    assert info_nce(pairs) < 0.1 * info_nce(pairs[torch.tensor([*range(5), 6, 7, 8, 9, 5])])

"""Attention pooling attends."""

import torch

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel


def test_attention_pooling_tends_to_the_frame_its_query_asks_for():
    pooling = make_model(AudioBranchModel, tiny_config(use_temporal_encoding=False)).pooling
    hidden_states, mask = torch.randn(1, 12, 16), torch.ones(1, 12, dtype=torch.bool)
    with torch.no_grad():
        for parameter in (pooling.q_proj.weight, pooling.q_proj.bias):
            parameter *= 1e4  # scores so far apart that the softmax picks one frame
        weights = pooling(hidden_states, mask)[1]
    assert ((weights > 0.999).sum(-1) == 1).all()

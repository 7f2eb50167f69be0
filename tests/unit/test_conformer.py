"""The parts of the Conformer: chunks of the feed-forward layer, and the convolution module."""

import torch

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch import conformer as conformer_module
from modeling_audio_branch.conformer import FeedForward
from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.packing import Padded


def test_a_feed_forward_layer_gives_the_same_in_chunks(monkeypatch):
    torch.manual_seed(0)
    layer, states = FeedForward(tiny_config()).eval(), torch.randn(1, 50, 16)
    with torch.no_grad():
        expected = layer(states)
        monkeypatch.setattr(conformer_module, "FFN_CHUNK_FRAMES", 7)
        torch.testing.assert_close(layer(states), expected, atol=1e-6, rtol=0)


def test_the_convolution_module_equals_its_definition():
    module = make_model(AudioBranchModel, tiny_config(conv_norm="batch", conv_context=[3, 1])).encoder.layers[0].conv
    states = torch.randn(2, 30, 16)
    mask = length_mask(torch.tensor([30, 11]), 30)
    with torch.no_grad():
        got = module(states, Padded(mask))
        gated = torch.nn.functional.glu(module.pointwise1(states)) * mask.unsqueeze(-1)
        convolved = torch.nn.functional.pad(gated, (0, 0, 3, 1)).transpose(1, 2)
        weight, bias = module.depthwise.weight, module.depthwise.bias
        convolved = torch.nn.functional.conv1d(convolved, weight, bias, groups=16).transpose(1, 2)
        scale = module.norm.weight / (module.norm.running_var + module.norm.eps).sqrt()
        normed = (convolved - module.norm.running_mean) * scale + module.norm.bias
        expected = module.pointwise2(torch.nn.functional.silu(normed))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)

"""Faster inference: int8 of every linear layer."""

import pytest
import torch
from torch import nn

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.layers import PrepackedLinear


def quantize_by_torch(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def quantize_prepared_by_torch(model):
    return quantize_by_torch(model.prepare_for_inference(measure=False))


def quantize_prepared(model):
    return model.prepare_for_inference(measure=False).quantize()


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
@pytest.mark.parametrize(
    "quantize", [lambda model: model.quantize(), quantize_by_torch, quantize_prepared_by_torch, quantize_prepared]
)
@pytest.mark.parametrize("choices", [{}, {"position_embedding": "relative", "pooling_type": "max"}])
def test_every_linear_layer_becomes_int8_and_the_outputs_stay_near(model_class, quantize, choices):
    config = tiny_config(d_model=64, subsampling_factor=4, num_labels=3, **choices)
    model = make_model(model_class, config)
    count = sum(isinstance(module, nn.Linear) for module in model.modules())
    int8 = quantize(model)
    quantized = [module for module in int8.modules() if isinstance(module, torch.ao.nn.quantized.dynamic.Linear)]
    assert len(quantized) == count > 15
    assert not any(isinstance(module, (nn.Linear, PrepackedLinear)) for module in int8.modules())
    inputs = pad(random_clips([9000, 4000]))
    with torch.no_grad():
        got, expected = int8.base_model(*inputs).pooler_output, model.base_model(*inputs).pooler_output
    assert torch.cosine_similarity(got, expected).min() > 0.98

"""The law of the edges: outputs and gradients are finite for any length, silence, and every dtype."""

import pytest
import torch

from helpers.models import make_model, pad, tiny_config
from helpers.strategies import EDGE_LENGTHS, POOLING_CHOICES
from modeling_audio_branch import AudioBranchForAudioClassification


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooling", POOLING_CHOICES)
@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
@pytest.mark.parametrize("position_embedding", ["relative", "rotary"])
@pytest.mark.parametrize("attention_window", [None, 2])
def test_outputs_and_gradients_are_finite_on_the_edges(dtype, pooling, conv_norm, position_embedding, attention_window):
    config = tiny_config(
        **pooling,
        conv_norm=conv_norm,
        position_embedding=position_embedding,
        attention_window=attention_window,
        subsampling_factor=4,
        problem_type="regression",
        num_labels=2,
        use_weighted_layer_sum=True,
    )
    model = make_model(AudioBranchForAudioClassification, config).to(dtype)
    as_on_gpu = pooling["pooling_type"] in ("max", "learnable")
    model.audio_branch.encoder.group_worth = 1000 if as_on_gpu else 0
    clips = [0.1 * torch.randn(length) for length in EDGE_LENGTHS]
    clips += [torch.zeros(4000), torch.full((4000,), 0.5), torch.randn(700)]
    batches = [pad(clips), *(pad([clip]) for clip in clips)]
    waveform, mask = pad(clips)
    batches.append((waveform, torch.zeros_like(mask)))  # nothing is valid
    for training in (False, True):
        model.train(training)
        for waveform, mask in batches:
            model.zero_grad()
            waveform = waveform.clone().requires_grad_()
            output = model(waveform, attention_mask=mask, labels=torch.zeros(len(mask), 2))
            output.loss.backward()
            assert output.logits.isfinite().all()
            assert waveform.grad is None or waveform.grad.isfinite().all()  # None: no clip has a frame
            for name, parameter in model.named_parameters():
                assert parameter.grad is None or parameter.grad.isfinite().all(), name
            for name, buffer in model.named_buffers():
                assert buffer.isfinite().all(), name

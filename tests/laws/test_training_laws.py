"""Laws of training: padding enters neither the loss nor the gradients, and checkpointing changes nothing."""

import copy

import pytest
import torch

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchForAudioClassification,
)


@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_padding_enters_neither_loss_nor_gradients(conv_norm):
    config = tiny_config(num_labels=3, conv_norm=conv_norm, dropout=0.0, subsampling_factor=4)
    model = make_model(AudioBranchForAudioClassification, config).train()
    waveform, mask = pad(random_clips([4000, 9000]))
    gradients = []
    for extra, value in ((0, 0.0), (3333, float("nan"))):
        model.zero_grad()
        padded = torch.nn.functional.pad(waveform.masked_fill(mask == 0, value), (0, extra), value=value)
        padded_mask = torch.nn.functional.pad(mask, (0, extra))
        model(padded, attention_mask=padded_mask, labels=torch.tensor([0, 2])).loss.backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient_and_no_statistic(use_reentrant):
    config = tiny_config(num_labels=3, conv_norm="batch", use_weighted_layer_sum=True, dropout=0.2)
    plain = make_model(AudioBranchForAudioClassification, config).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    waveform, mask = pad(random_clips([4000, 9000]))
    calls = 0

    def count(*_):
        nonlocal calls
        calls += 1

    checkpointed.audio_branch.encoder.layers[0].feed_forward1.register_forward_hook(count)
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        model(waveform, attention_mask=mask, labels=torch.tensor([0, 2])).loss.backward()
    assert calls == 2  # it really ran again
    for (name, expected), parameter in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-6, rtol=1e-5, msg=name)
    for (name, expected), buffer in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert torch.equal(buffer, expected), name

"""Laws of training: padding enters neither the loss nor the gradients, and checkpointing changes nothing."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import architectures, convolutions, windows, worths
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel


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
@pytest.mark.parametrize("lengths", [[4000, 9000], [9000, 9000]])
@pytest.mark.parametrize("worth", [0, 1000])
def test_gradient_checkpointing_changes_no_gradient_and_no_statistic(use_reentrant, lengths, worth):
    config = tiny_config(num_labels=3, conv_norm="batch", use_weighted_layer_sum=True, dropout=0.2)
    plain = make_model(AudioBranchForAudioClassification, config).train()
    plain.audio_branch.encoder.group_worth = worth
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    waveform, mask = pad(random_clips(lengths))
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


@given(architectures, windows, convolutions, st.lists(st.integers(0, 3000), min_size=1, max_size=3), worths)
@settings(max_examples=25)
def test_gradients_of_gradients_are_those_of_the_padded_path(choices, window, convolution, lengths, worth):
    config = tiny_config(**(choices | window | convolution), dropout=0.0)
    waveform, mask = pad(random_clips([*lengths, 2000]))
    found = []
    for packs in (True, False):
        model = make_model(AudioBranchModel, config).double().train()
        model.encoder.packs_frames, model.encoder.group_worth = packs, worth
        features, frame_mask = model.front_end.log_mel(waveform, mask)
        features = features.double().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            loss = model(features, attention_mask=frame_mask).segment_features.sin().sum()
            (gradient,) = torch.autograd.grad(loss, features, create_graph=True)
            gradient.square().sum().backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()} | {"input": features.grad})
    for name, value in found[0].items():
        if value is None or found[1][name] is None:
            assert value is found[1][name], name
            continue
        torch.testing.assert_close(value, found[1][name], atol=1e-7, rtol=1e-6, msg=name)


@given(architectures, windows, convolutions, st.lists(st.integers(0, 3000), min_size=1, max_size=3), worths)
@settings(max_examples=15)
def test_dropout_depends_on_the_seed_alone_and_stops_in_eval_mode(choices, window, convolution, lengths, worth):
    model = make_model(AudioBranchModel, tiny_config(**(choices | window | convolution), dropout=0.5))
    model.encoder.group_worth = worth
    waveform, mask = pad(random_clips([*lengths, 2000]))

    def run(seed):
        torch.manual_seed(seed)
        return model(waveform, attention_mask=mask).last_hidden_state

    with torch.no_grad():
        expected = run(0)
        states = model.state_dict()
        before = {name: value.clone() for name, value in states.items()}
        model.train()
        first, other = run(0), run(1)
        model.load_state_dict(before)
        assert torch.equal(run(0), first) and not torch.equal(first, other)
        model.load_state_dict(before)
        assert torch.equal(model.eval() and run(1), expected)

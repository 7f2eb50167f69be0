"""The law of prepare_for_inference: it changes the speed alone."""

import copy

import pytest
import torch

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.layers import Linear


@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_a_prepared_model_gives_the_same_and_follows_every_change_of_its_weights(conv_norm):
    config = tiny_config(position_embedding="relative", subsampling_factor=4, conv_norm=conv_norm)
    model, other = make_model(AudioBranchModel, config).prepare_for_inference(), make_model(AudioBranchModel, config, 1)
    linears = [module for module in model.modules() if isinstance(module, Linear)]
    assert len(linears) > 10 and all(linear.packed is not None for linear in linears)

    def assert_as_unprepared():
        plain = copy.deepcopy(model)
        assert not any(linear.packed is not None for linear in plain.modules() if isinstance(linear, Linear))
        for lengths in ([4000], [9000, 3000], [2000]):  # the keys kept for the longest serve the others
            waveform, mask = pad(random_clips(lengths))
            with torch.no_grad():
                got, expected = model(waveform, mask), plain(waveform, mask)
            torch.testing.assert_close(got.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=0)
        model(waveform, mask).segment_features.sum().backward()
        plain(waveform, mask).segment_features.sum().backward()
        for parameter, same in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, same.grad, atol=1e-5, rtol=1e-4)
        model.zero_grad()

    with torch.no_grad():
        assert linears[0].is_prepacked
    assert not linears[0].is_prepacked
    assert_as_unprepared()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
        assert not linears[0].is_prepacked
    assert_as_unprepared()
    model.prepare_for_inference()
    model.load_state_dict(other.state_dict())
    assert_as_unprepared()
    model.prepare_for_inference()
    assert_as_unprepared()
    model.double().float()
    with torch.no_grad():
        assert not linears[0].is_prepacked
    assert_as_unprepared()

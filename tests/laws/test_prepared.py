"""The law of prepare_for_inference: it changes the speed alone."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers.utils import logging

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel, inference
from modeling_audio_branch.layers import PrepackedLinear, prepacking_gain


@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_a_prepared_model_gives_the_same_and_follows_every_change_of_its_weights(conv_norm):
    config = tiny_config(position_embedding="relative", subsampling_factor=4, conv_norm=conv_norm)
    model, other = (
        make_model(AudioBranchModel, config).prepare_for_inference(measure=False),
        make_model(AudioBranchModel, config, 1),
    )
    linears = [module for module in model.modules() if isinstance(module, PrepackedLinear)]
    assert len(linears) > 10 and all(linear.packed is not None for linear in linears)

    def assert_as_unprepared():
        plain = copy.deepcopy(model)
        assert not any(isinstance(module, PrepackedLinear) for module in plain.modules())
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
    model.prepare_for_inference(measure=False)
    model.load_state_dict(other.state_dict())
    assert_as_unprepared()
    model.prepare_for_inference(measure=False)
    assert_as_unprepared()
    model.double().float()
    with torch.no_grad():
        assert not linears[0].is_prepacked
    assert_as_unprepared()


def adamw(model):
    train_a_step(model, torch.optim.AdamW(model.parameters(), 0.1, fused=True))


def sgd(model):
    train_a_step(model, torch.optim.SGD(model.parameters(), 10.0, fused=True))


def train_a_step(model, optimizer):
    model(torch.cat(random_clips([4000]))[None]).segment_features.square().sum().backward()
    optimizer.step()


def set_from_a_vector(model):
    vector = torch.nn.utils.parameters_to_vector(model.parameters())
    torch.nn.utils.vector_to_parameters(0.5 * vector, model.parameters())


def write_to_data(model):
    for parameter in model.parameters():
        parameter.data.mul_(0.5)


def replace_data(model):
    for parameter in model.parameters():
        parameter.data = 0.5 * parameter.data


def merge_an_adapter(model):
    torch.manual_seed(1)
    tuned = get_peft_model(model, LoraConfig(target_modules=["linear1", "qkv_proj"], init_lora_weights=False))
    tuned.merge_adapter()
    return tuned.base_model.model


def merge_and_unload(model):
    torch.manual_seed(1)
    lora = LoraConfig(target_modules=["linear1", "qkv_proj"], init_lora_weights=False)
    return get_peft_model(model, lora).merge_and_unload()


def load_in_place(model):
    other = make_model(AudioBranchModel, model.config, 1)
    model.load_state_dict(other.state_dict())


CHANGES = [
    adamw,
    sgd,
    set_from_a_vector,
    write_to_data,
    replace_data,
    merge_an_adapter,
    merge_and_unload,
    load_in_place,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_prepared_model_is_never_stale(change):
    """Whatever writes to the weights, the outputs are those of an unprepared model with the same weights."""
    config = tiny_config(position_embedding="relative", dropout=0.0)
    model, plain = make_model(AudioBranchModel, config), make_model(AudioBranchModel, config)
    model.prepare_for_inference(measure=False)
    clip = random_clips([9000])[0][None]
    with torch.no_grad():
        before = model(clip).segment_features  # fills the cache of relative keys
    model, plain = change(model) or model, change(plain) or plain
    with torch.no_grad():
        got, expected = model(clip).segment_features, plain(clip).segment_features
    assert (expected - before).abs().max() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_preparing_measures_whether_it_pays_and_says_so_if_not(monkeypatch, caplog):
    model = make_model(AudioBranchModel, tiny_config())
    random_state = torch.get_rng_state()
    assert prepacking_gain(16, 32) > 0
    assert torch.equal(torch.get_rng_state(), random_state)
    logging.enable_propagation()
    for gain, prepared in ((1.0, False), (1.5, True)):
        monkeypatch.setattr(inference, "prepacking_gain", lambda *_, gain=gain: gain)
        assert model.prepare_for_inference() is model
        assert any(isinstance(module, PrepackedLinear) for module in model.modules()) == prepared
    logging.disable_propagation()
    assert [record.message for record in caplog.records] == [
        "prepare_for_inference leaves the model as it is: it is 1.00 times as fast here."
    ]

"""The law of offloading: a model whose weights are on the CPU or on disk until a layer runs gives the same numbers."""

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from hypothesis import given, settings

from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import architectures, convolutions, windows
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel


def outputs(model, clips):
    waveform, mask = pad(clips)
    with torch.no_grad():
        output = model(waveform, mask)
    encoded = model.base_model.encode([clip.numpy() for clip in clips], sampling_rate=16000)
    return [*(value for value in output.values() if value is not None), *encoded.values()]


@given(architectures, windows, convolutions)
@settings(max_examples=25)
def test_an_offloaded_model_gives_the_same(choices, window, convolution):
    choices = choices | window | (convolution if choices["subsampling_factor"] > 1 else {})
    clips = random_clips([9000, 3000])
    model = make_model(AudioBranchModel, tiny_config(**choices))
    expected = outputs(model, clips)
    cpu_offload(model)
    assert all(parameter.is_meta for parameter in model.parameters())
    for packs_frames in (True, False):
        model.encoder.packs_frames = packs_frames
        for got, value in zip(outputs(model, clips), expected, strict=True):
            torch.testing.assert_close(got, value, atol=1e-5, rtol=0)
    model.prepare_for_inference(measure=False)
    for got, value in zip(outputs(model, clips), expected, strict=True):
        torch.testing.assert_close(got, value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
@pytest.mark.parametrize("way", ["disk_offload", "dispatch_model", "from_pretrained"])
def test_a_model_on_disk_gives_the_same(model_class, conv_norm, way, tmp_path):
    clips = random_clips([9000, 3000])
    config = tiny_config(conv_norm=conv_norm, subsampling_factor=4, position_embedding="relative", num_labels=3)
    model = make_model(model_class, config)
    expected = outputs(model, clips)
    name = "audio_branch.encoder" if model_class is AudioBranchForAudioClassification else "encoder"
    device_map = {"": "cpu", f"{name}.layers.1": "disk", f"{name}.subsampling": "disk"}
    if way == "disk_offload":
        disk_offload(model, tmp_path / "offload")
    elif way == "dispatch_model":
        dispatch_model(model, device_map, main_device="cpu", offload_dir=tmp_path / "offload")
    else:
        model.save_pretrained(tmp_path / "saved")
        device_map = {child: "cpu" for child, _ in model.base_model.named_children()}
        if model_class is AudioBranchForAudioClassification:
            device_map = {f"audio_branch.{child}": place for child, place in device_map.items()} | {"classifier": "cpu"}
        device_map |= {f"{name}.layers.0": "cpu", f"{name}.layers.1": "disk", f"{name}.subsampling": "disk"}
        device_map.pop(name)
        model = model_class.from_pretrained(
            tmp_path / "saved", device_map=device_map, offload_folder=tmp_path / "offload"
        )
    for got, value in zip(outputs(model, clips), expected, strict=True):
        torch.testing.assert_close(got, value, atol=1e-5, rtol=0)

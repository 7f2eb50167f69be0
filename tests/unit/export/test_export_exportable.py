"""The exportable model: the Fourier transform as a convolution, names, inputs; the original is left alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2Config

from helpers.encoders import CONVOLUTIONS, LAYER_NORM, SIZES
from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchConfig, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.configuration_audio_branch import LogMelSettings
from modeling_audio_branch.export.errors import ExportError
from modeling_audio_branch.export.exportable import ConvolvedLogMel, Exportable
from modeling_audio_branch.log_mel import LogMel


@given(
    n_fft=st.sampled_from([64, 128, 512]),
    win_length=st.integers(20, 64),
    hop_length=st.integers(10, 20),
    length=st.integers(100, 2000),
    mag_power=st.sampled_from([1.0, 2.0]),
    normalize=st.sampled_from(["per_feature", "all_features", "none"]),
)
@settings(max_examples=40, deadline=None)
def test_the_convolved_spectrogram_is_that_of_the_fourier_transform(
    n_fft, win_length, hop_length, length, mag_power, normalize
):
    chosen = {"n_fft": n_fft, "win_length": win_length, "hop_length": hop_length}
    log_mel = LogMel(8000, 12, LogMelSettings(**chosen, mag_power=mag_power, normalize=normalize))
    convolved = ConvolvedLogMel.like(log_mel)
    noise = torch.randn(1, length, generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        frames = log_mel._emphasised(noise, None, 1 + length // hop_length)
        power = log_mel._power(frames.unfold(-1, n_fft, hop_length))
        difference = (convolved._power(frames) - power).abs().max()
    assert difference <= 1e-5 * power.max()


def test_other_windows_and_filters_are_taken_over():
    log_mel = LogMel(8000, 12, LogMelSettings(n_fft=128, win_length=100, hop_length=40))
    log_mel.window.mul_(0.5)
    convolved = ConvolvedLogMel.like(log_mel)
    assert torch.equal(convolved.window, log_mel.window)
    assert convolved.waves.abs().max() <= 0.5


def test_the_model_is_not_changed_and_trains_on():
    model = make_model(AudioBranchModel, tiny_config()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exportable = Exportable(model)
    assert not exportable.model.training and model.training
    assert type(model.front_end.log_mel) is LogMel and model.config._attn_implementation == "sdpa"
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_half_precision_is_exported_as_float32():
    exportable = Exportable(make_model(AudioBranchModel, tiny_config()).half())
    assert {value.dtype for value in exportable.parameters()} == {torch.float32}


def test_names_of_inputs_and_outputs():
    assert Exportable(make_model(AudioBranchModel, tiny_config())).input_name == "input_values"
    classifier = Exportable(make_model(AudioBranchForAudioClassification, tiny_config()), "features")
    assert classifier.input_name == "input_features" and classifier.output_names[-1] == "logits"


def test_raw_audio_of_an_encoder_of_transformers_is_refused():
    encoder = Wav2Vec2Config(**SIZES, **CONVOLUTIONS, **LAYER_NORM)
    model = make_model(AudioBranchModel, AudioBranchConfig(encoder_config=encoder, feature_dim=12, num_heads=2))
    with pytest.raises(ExportError, match="--from features"):
        Exportable(model)
    assert Exportable(model, "features").input_name == "input_values"


def test_the_padding_of_inputs_is_noise_on_demand():
    exportable = Exportable(make_model(AudioBranchModel, tiny_config()))
    clean, mask = exportable.inputs([0.5, 0.2])
    noisy, _ = exportable.inputs([0.5, 0.2], padding=5.0)
    assert mask.sum(1).tolist() == [8000, 3200]
    assert torch.equal(noisy[0], clean[0]) and noisy[1, 3200:].std() > 3
    assert len(random_clips([10])[0]) == 10

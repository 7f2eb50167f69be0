"""The configuration: published sizes, setting names as in Transformers, and one sentence for an impossible setting."""

from dataclasses import fields

import pytest
import torch

from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from modeling_audio_branch.configuration_audio_branch import LogMelSettings

OWN_SETTINGS = {*AudioBranchConfig.__annotations__, *LogMelSettings.__annotations__}


def test_lightweight_has_the_published_numbers_of_parameters():
    with torch.device("meta"):
        parts = AudioBranchModel(AudioBranchConfig.lightweight()).num_parameters_by_part()
    in_millions = {part: round(count / 1e6, 1) for part, count in parts.items()}
    assert in_millions == {"encoder": 24.3, "pooling": 1.1, "projection": 0.3, "total": 25.6}


def test_large_has_about_110_million_parameters():
    with torch.device("meta"):
        parts = AudioBranchModel(AudioBranchConfig.large()).num_parameters_by_part()
    assert parts["total"] == pytest.approx(110e6, rel=0.01)
    assert AudioBranchConfig.large().frame_rate == 12.5


def test_a_preset_takes_overrides():
    config = AudioBranchConfig.large(num_layers=2, pooling_type="max")
    assert (config.num_layers, config.subsampling_factor, config.pooling_type) == (2, 8, "max")


def test_transformers_names_and_ours_are_the_same_settings():
    config = AudioBranchConfig(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, sampling_rate=8000, num_mel_bins=40
    )
    assert (config.d_model, config.num_layers, config.num_heads, config.sample_rate, config.n_mels) == (
        64,
        3,
        4,
        8000,
        40,
    )
    assert (config.hidden_size, config.sampling_rate) == (64, 8000)


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"d_model": 100}, "d_model=100 does not split over num_heads=8: give a multiple of num_heads"),
        ({"hidden_size": 100}, "d_model=100 does not split over num_heads=8"),
        ({"d_model": 24}, "must be even, not 24/8=3"),
        ({"d_model": 5, "num_heads": 5, "position_embedding": "relative"}, "needs an even d_model, not 5"),
        ({"num_segments": 0}, "num_segments=0 is impossible: give a whole number of at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 is impossible"),
        ({"time_mask_ratio": 2}, "time_mask_ratio=2 is impossible"),
        ({"num_freq_masks": -1}, "num_freq_masks=-1 is impossible"),
        ({"n_fft": 256}, "n_fft=256 with win_length=400 is impossible"),
        ({"n_fft": 513}, "n_fft must be even"),
        ({"n_fft": 2**29}, "n_fft=536870912 is impossible: give at most 32768"),  # mel filters of 171 GB
        ({"n_mels": 10**9}, "n_mels=1000000000 is impossible: give at most 1024"),
        ({"hop_length": 401}, "hop_length=401 skips samples"),
        ({"attention_window": 0}, "attention_window=0 is impossible"),
        ({"conv_kernel_size": 4}, "conv_kernel_size=4 has no middle: give an odd number"),
        ({"subsampling_factor": 4}, "'none' goes with 1"),
        ({"subsampling": "striding"}, "'striding' and 'dw_striding' with 2, 4 or 8"),
        ({"subsampling": "striding", "subsampling_factor": 3}, "with 2, 4 or 8"),
        ({"pooling_type": "mean"}, "expected one of ('attention', 'max', 'avg', 'learnable'), got mean"),
        ({"n_mels": "80"}, "'n_mels' expected int, got str"),
        ({"mag_power": 0}, "mag_power=0 is impossible: give a positive number"),
        ({"preemphasis": 1.5}, "preemphasis=1.5 is impossible: give a number from -1 to 1"),
        ({"log_zero_guard_value": 1e38}, "log_zero_guard_value=1e+38 hides speech: give a number up to 1"),
        ({"log_zero_guard_value": 0.0}, "log_zero_guard_value=0.0 leaves the logarithm of 0"),
        ({"pooling_typ": "max"}, "no setting 'pooling_typ'; did you mean 'pooling_type'?"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_allowed(choices, sentence):
    with pytest.raises(Exception) as raised:  # huggingface_hub wraps our ValueError in its own
        AudioBranchConfig(**choices)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_setting_may_be_nan_or_infinite(value):
    names = [each.name for each in fields(AudioBranchConfig) if "float" in str(each.type)]
    names = [name for name in names if hasattr(tiny_config(), name) and name in OWN_SETTINGS]
    assert {"dropout", "mag_power", "preemphasis", "log_zero_guard_value", "normalize_mean"} <= set(names)
    for name in names:
        choices = {name: value}
        if name.startswith("normalize_"):
            numbers = {"normalize_mean": [0.0] * 20, "normalize_deviation": [1.0] * 20}
            choices = {"normalize": "fixed"} | numbers | {name: [1.0] * 19 + [value]}
        with pytest.raises(
            Exception, match=f"{name}.*(is impossible|leaves the logarithm|hides speech|can't be divided by)"
        ):
            tiny_config(**choices)


def test_an_impossible_setting_made_later_is_never_saved(tmp_path):
    config = tiny_config()
    config.d_model = 17
    with pytest.raises(Exception, match="d_model=17"):
        config.save_pretrained(tmp_path / "checkpoint")


def test_the_config_always_maps_all_four_auto_classes(tmp_path):
    tiny_config(auto_map={"AutoModel": "someone/else--modeling_audio_branch.AudioBranchModel"}).save_pretrained(
        tmp_path
    )
    saved = AudioBranchConfig.from_pretrained(tmp_path)
    assert set(saved.auto_map) == {
        "AutoConfig",
        "AutoFeatureExtractor",
        "AutoModel",
        "AutoModelForAudioClassification",
    }
    assert not any("--" in reference for reference in saved.auto_map.values())
    assert set(saved.custom_pipelines) == {"audio-segment-embedding", "feature-extraction", "audio-classification"}

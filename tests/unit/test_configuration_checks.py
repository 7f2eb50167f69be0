"""Checks of the configuration: one sentence for an impossible setting, with what is allowed."""

from dataclasses import fields

import pytest

from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchConfig
from modeling_audio_branch.configuration_audio_branch import LogMelSettings

FIXED = {"normalize": "fixed", "normalize_mean": [0.0] * 80, "normalize_deviation": [1.0] * 80}
OWN_SETTINGS = {*AudioBranchConfig.__annotations__, *LogMelSettings.__annotations__}


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
        ({"segmentation": "learned", "pooling_type": "max"}, "is impossible: it goes with 'attention' and 'avg'"),
        ({"n_mels": "80"}, "'n_mels' expected int, got str"),
        ({"mag_power": 0}, "mag_power=0 is impossible: give a positive number"),
        ({"preemphasis": 1.5}, "preemphasis=1.5 is impossible: give a number from -1 to 1"),
        ({"log_zero_guard_value": 1e38}, "log_zero_guard_value=1e+38 hides speech: give a number up to 1"),
        ({"log_zero_guard_value": 0.0}, "log_zero_guard_value=0.0 leaves the logarithm of 0"),
        (FIXED | {"normalize_mean": [1e39] * 80}, "normalize_mean has numbers beyond 1e+06"),
        (FIXED | {"normalize_deviation": [0.0] * 80}, "normalize_deviation has numbers under 1e-6"),
        ({"num_labels": 2**31}, "num_labels=2147483648 is impossible: give a whole number from 0 to 1000000"),
        ({"num_labels": float("nan")}, "num_labels=nan is impossible"),
        ({"d_model": 2**31}, "d_model=2147483648 is impossible: give whole numbers under 2147483648"),
        ({"d_model": 10**5000}, "d_model=a number of thousands of digits is impossible"),
        ({"attention_window": [10**15, 10**15]}, "is impossible: give whole numbers under 2147483648"),
        ({"attention_window": [1] * 10**5}, "is impossible: give encoder frames per side"),
        ({"rope_parameters": "x"}, "rope_parameters='x' is impossible: give a dictionary, or leave it out"),
        ({"auto_map": 3}, "auto_map=3 is impossible: give a dictionary"),
        ({"to_dict": 3}, "no setting 'to_dict'; leave it out"),
        ({"__weakref__": 3}, "no setting '__weakref__'; leave it out"),
        ({"dtype": "a\nb"}, r"no attribute 'a\nb'"),
        ({"dtype": []}, "dtype=[] is impossible: give the name of a dtype of torch, or None"),
        ({"encoder_config": {"model_type": "x" * 10**4}}, "which Transformers does not know"),
        ({"pooling_typ": "max"}, "no setting 'pooling_typ'; did you mean 'pooling_type'?"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_allowed(choices, sentence):
    with pytest.raises(Exception) as raised:  # huggingface_hub wraps our ValueError in its own
        AudioBranchConfig(**choices)
    assert sentence in str(raised.value) and len(str(raised.value)) < 600


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

"""NeMo's settings are converted, or refused by name (see also test_convert_nemo_sections.py)."""

from typing import Literal, get_args, get_origin

import pytest
from huggingface_hub.errors import StrictDataclassError

from helpers.nemo_archives import ARCHIVES, NEMO, assert_refused
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from modeling_audio_branch.convert.nemo_archive import NemoArchive
from modeling_audio_branch.convert.nemo_settings import encoder_settings, front_end_settings


def test_the_archives_have_every_supported_setting():
    seen = {}
    for name in ARCHIVES:
        config = NemoArchive(NEMO / name / "model.nemo").config()
        settings = front_end_settings(config["preprocessor"])
        for setting, value in (settings | encoder_settings(config["encoder"])).items():
            seen.setdefault(setting, []).append(value)
    types = {name: field.type for name, field in AudioBranchConfig.__dataclass_fields__.items()}
    # The positions are always relative, dropout is for training, and the other two go with normalize="fixed" only.
    for setting in seen.keys() - {"position_embedding", "dropout", "normalize_mean", "normalize_deviation"}:
        if get_origin(types[setting]) is Literal:
            assert set(get_args(types[setting])) == set(seen[setting]), setting
        else:
            assert len({str(value) for value in seen[setting]}) > 1, setting
    assert {1, 2, 4, 8} == set(seen["subsampling_factor"])


@pytest.mark.parametrize(
    ("section", "settings", "named"),
    [
        ("encoder", {"global_tokens": 1}, "global_tokens without local attention"),
        (
            "encoder",
            {"self_attention_model": "rel_pos_local_attn", "att_context_size": [4, 2]},
            "att_context_size=[4, 2]",
        ),
        ("encoder", {"self_attention_model": "rel_pos_local_attn"}, "att_context_size=[-1, -1]"),
        ("encoder", {"n_layers": None}, "n_layers=None"),
        ("preprocessor", {"features": 64}, "makes 64 features, but its encoder takes feat_in=80"),
        ("encoder", {"subsampling_factor": 3}, "subsampling_factor=3"),
        ("encoder", {"subsampling_factor": 16}, "subsampling_factor=16"),
        ("encoder", {"conv_kernel_size": 8}, "conv_kernel_size=8"),
        ("encoder", {"conv_context_size": [4, 5]}, "conv_context_size=[4, 5]"),
        ("encoder", {"conv_context_size": "both"}, "'conv_context_size'"),
        ("encoder", {"n_heads": 5}, "d_model=64 does not split over n_heads=5"),
        ("encoder", {"n_layers": 0}, "n_layers=0"),
        ("encoder", {"n_heads": 0}, "n_heads=0"),
        ("encoder", {"att_context_size": [5, -2]}, "att_context_size=[5, -2]"),
        (
            "encoder",
            {"att_context_style": "chunked_limited", "att_context_size": [4, -1]},
            "att_context_style='chunked_limited' with att_context_size=[4, -1]",
        ),
        ("encoder", {"ff_expansion_factor": 1.5}, "'ff_expansion_factor' expected int"),
        ("preprocessor", {"log_zero_guard_value": 0.0}, "log_zero_guard_value=0.0"),
        ("preprocessor", {"window_size": 0.05}, "n_fft=512 with n_window_size=800"),
        ("preprocessor", {"window_stride": None}, "n_window_stride=0"),
        ("encoder", {"att_context_size": 4}, "att_context_size=4"),
        ("encoder", {"att_context_size": [4]}, "att_context_size=[4]"),
        (
            "preprocessor",
            {"normalize": {"fixed_mean": "low", "fixed_std": [1.0]}},
            "fixed_mean='low'; it must be a list",
        ),
        ("preprocessor", {"normalize": {"fixed_mean": [0.0], "fixed_std": [1.0]}}, "1 numbers in fixed_mean"),
    ],
)
def test_settings_that_cannot_be_converted_are_refused_by_nemos_name(section, settings, named, tmp_path):
    assert_refused(section, settings, named, tmp_path)


def test_bad_settings_of_the_caller_are_not_blamed_on_the_archive():
    with pytest.raises(StrictDataclassError, match="num_segments=0"):
        AudioBranchModel.from_nemo(NEMO / "fc_local4/model.nemo", num_segments=0)

"""Settings of NeMo are known and supported, or refused by name."""

import pytest

from helpers.nemo_archives import assert_refused


@pytest.mark.parametrize(
    ("section", "settings", "named"),
    [
        ("encoder", {"self_attention_model": "abs_pos"}, "self_attention_model='abs_pos'"),
        ("encoder", {"conv_norm_type": "group_norm4"}, "conv_norm_type='group_norm4'"),
        ("encoder", {"conv_norm_type": "instance_norm"}, "conv_norm_type='instance_norm'"),
        ("encoder", {"subsampling": "stacking"}, "subsampling='stacking'"),
        ("encoder", {"subsampling": "vggnet"}, "subsampling='vggnet'"),
        ("encoder", {"reduction": "striding", "reduction_factor": 2}, "reduction='striding'"),
        ("encoder", {"feat_out": 128}, "feat_out=128"),
        ("encoder", {"global_tokens": 2, "self_attention_model": "rel_pos_local_attn"}, "global_tokens=2"),
        ("encoder", {"att_context_style": "chunked"}, "att_context_style='chunked'"),
        ("encoder", {"a_new_idea": 3}, "a_new_idea=3"),
        ("encoder", {"_target_": "nemo.collections.asr.modules.SqueezeformerEncoder"}, "SqueezeformerEncoder"),
        ("preprocessor", {"_target_": "os.system"}, "os.system"),
        ("preprocessor", {"frame_splicing": 3}, "frame_splicing=3"),
        ("preprocessor", {"exact_pad": True}, "exact_pad=True"),
        ("preprocessor", {"log": False}, "log=False"),
        ("preprocessor", {"log_zero_guard_type": "max"}, "log_zero_guard_type='max'"),
        ("preprocessor", {"use_grads": True}, "use_grads=True"),
        ("encoder", {"subsampling_factor": None}, "subsampling_factor=None; it must be a number"),
        ("preprocessor", {"window_size": "wide"}, "window_size='wide'; it must be a number"),
        ("preprocessor", {"window_stride": float("inf")}, "window_stride=inf; it must be a number"),
        ("preprocessor", {"window_size": 1e308}, "window_size=1e+308; it must be a number below 2**31"),
        ("preprocessor", {"window_size": 1e6}, "window_size=1000000.0, more than any sound lasts"),
        ("encoder", {"d_model": 2**40}, "d_model=1099511627776; it must be a number of at least 1 and below 2**31"),
        ("preprocessor", {"n_window_size": "400"}, "n_window_size='400'; it must be a number"),
        ("preprocessor", {"log_zero_guard_value": "small"}, "log_zero_guard_value='small'; it must be a number"),
    ],
)
def test_settings_that_are_unknown_or_have_unsupported_values_are_refused_by_name(section, settings, named, tmp_path):
    assert_refused(section, settings, named, tmp_path)

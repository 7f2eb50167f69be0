"""The configuration: published sizes, setting names as in Transformers, and files that hold one."""

import pytest
import torch

from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel


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


def test_a_configuration_of_many_levels_is_refused(tmp_path):
    for levels in (3000, 100_000):
        (tmp_path / "config.json").write_text(f'{{"dropout": {"[" * levels}{"]" * levels}}}')
        with pytest.raises(ValueError, match="too many levels; give the config.json of Audio Branch"):
            AudioBranchConfig.from_pretrained(tmp_path)


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

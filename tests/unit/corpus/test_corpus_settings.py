"""The search settings of a checkpoint."""

import math

import pytest
import torch
from safetensors.torch import save_file

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.settings import FILE, SearchSettings, read_settings, settings_of


def measured(width=16):
    settings = SearchSettings(3, calibration=torch.tensor([-2.0, 3.0, 0.5]))
    settings.measure(torch.randn(200, width) * torch.arange(1, width + 1) + 5)
    return settings


def test_settings_are_written_and_read_again(tmp_path):
    settings = measured()
    settings.save(tmp_path / FILE)
    again = read_settings(tmp_path / FILE, 16)
    assert again.attention_window == 3
    for name in ("mean", "deviation", "components", "calibration"):
        assert torch.equal(getattr(again, name), getattr(settings, name))
    SearchSettings(2).save(tmp_path / FILE)
    assert not read_settings(tmp_path / FILE, 16).is_measured


def test_projected_frames_have_zero_mean_and_keep_their_lengths_with_all_components():
    frames = torch.randn(500, 16) * torch.arange(1, 17) + 5
    settings = SearchSettings(1)
    settings.measure(frames)
    projected = settings.project(frames)
    torch.testing.assert_close(projected.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    standardised = (frames - settings.mean) / settings.deviation
    torch.testing.assert_close(projected.norm(dim=-1), standardised.norm(dim=-1), atol=1e-3, rtol=0)
    power = (projected**2).mean(0)
    assert (power[:-1] >= power[1:] - 1e-5).all()  # the leading ones first


def test_a_probability_grows_with_the_score_and_is_none_without_a_calibration():
    settings = measured()
    expected = 1 / (1 + math.exp(-(-2 + 3 * 0.8 + 0.5 * math.log(20))))
    assert settings.probability(0.8, 20) == pytest.approx(expected, abs=1e-4)
    assert settings.probability(0.9, 20) > settings.probability(0.8, 20)
    assert SearchSettings(1).probability(0.8, 20) is None


def test_a_checkpoint_brings_its_settings_or_a_window_of_a_fifth_of_a_second(tmp_path):
    model = make_model(AudioBranchModel, tiny_config())
    assert settings_of(model, None).attention_window == 20  # frames of 10 ms
    assert settings_of(make_model(AudioBranchModel, tiny_config(attention_window=[2, 7])), None).attention_window == 7
    model.save_pretrained(tmp_path)
    assert not settings_of(model, str(tmp_path)).is_measured
    measured().save(tmp_path / FILE)
    assert settings_of(model, str(tmp_path)).attention_window == 3


@pytest.mark.parametrize(
    "values",
    [
        {"attention_window": torch.tensor([0])},
        {"mean": torch.zeros(16)},
        {"mean": torch.zeros(5), "deviation": torch.ones(5), "components": torch.ones(5, 2)},
        {"mean": torch.zeros(16), "deviation": torch.zeros(16), "components": torch.ones(16, 2)},
        {"mean": torch.full((16,), math.nan), "deviation": torch.ones(16), "components": torch.ones(16, 2)},
        {"calibration": torch.ones(2)},
        {"calibration": torch.ones(3, dtype=torch.float64)},
        {"other": torch.ones(3)},
        {"attention_window": torch.tensor([1, 2])},
    ],
)
def test_settings_that_are_impossible_get_a_sentence(values, tmp_path):
    save_file({"attention_window": torch.tensor([3])} | values, tmp_path / FILE)
    with pytest.raises(CorpusError, match="holds (no )?search settings") as raised:
        read_settings(tmp_path / FILE, 16)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_something_else_gets_a_sentence(tmp_path):
    (tmp_path / FILE).write_bytes(b"no safetensors")
    with pytest.raises(CorpusError, match="holds no search settings"):
        read_settings(tmp_path / FILE, 16)

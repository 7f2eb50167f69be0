"""recipes/audio_visual/model/fusion.py and configuration_audio_visual.py: what each fusion knows of time."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from ncps.torch import CfC
from transformers import CLIPConfig

from recipes.audio_visual.model import AudioVisualConfig
from recipes.audio_visual.model.fusion import FUSIONS


def fuse(av, fusion, audio, video, times, seed=0):
    module = av.model(fusion, seed=seed).fusion
    with torch.no_grad():
        return module(audio, video, torch.ones(len(audio), 2, dtype=torch.bool), times)[0]


@pytest.fixture
def sides():
    generator = torch.Generator().manual_seed(0)
    starts = torch.arange(4) * 0.5
    times = torch.stack([starts, starts + 0.5], -1).expand(3, -1, -1)
    return *(torch.randn(3, 4, 16, generator=generator) for _ in range(2)), times


@pytest.mark.parametrize("fusion", FUSIONS)
def test_only_the_concatenated_means_do_not_know_which_segments_came_together(av, fusion, sides):
    audio, video, times = sides
    shifted = fuse(av, fusion, audio, video.roll(1, dims=1), times)
    is_same = torch.allclose(shifted, fuse(av, fusion, audio, video, times), atol=1e-6)
    assert is_same == (fusion == "concat")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_only_the_liquid_fusion_knows_how_long_a_segment_lasts_and_in_which_order_they_come(av, fusion, sides):
    audio, video, times = sides
    expected = fuse(av, fusion, audio, video, times)
    assert torch.allclose(fuse(av, fusion, audio, video, 2 * times), expected, atol=1e-6) == (fusion != "liquid")
    backwards = fuse(av, fusion, audio.flip(1), video.flip(1), times)
    assert torch.allclose(backwards, expected, atol=1e-5) == (fusion != "liquid")


def test_the_time_steps_of_a_batch_are_those_of_each_clip():
    """Of ncps 1.0.1, timespans (B, T) fail for B > 1; expanded to (B, T, units) they are right."""
    torch.manual_seed(0)
    network, inputs, steps = CfC(6, 5), torch.randn(3, 4, 6), torch.rand(3, 4)
    batched, _ = network(inputs, timespans=steps.unsqueeze(-1).expand(-1, -1, 5))
    for row in range(3):
        alone, _ = network(inputs[row : row + 1], timespans=steps[row : row + 1])
        torch.testing.assert_close(batched[row], alone[0])
    with pytest.raises(RuntimeError):
        network(inputs, timespans=steps)


def test_attention_without_time_looks_at_all_and_with_a_steep_bias_at_the_same_segment(av, sides):
    attention = av.model("cross_attention").fusion.to_video
    audio, video, times = sides
    with torch.no_grad():
        attention.log_slopes.fill_(5.0)
        own = attention.o_proj(attention.v_proj(video))
        torch.testing.assert_close(attention(audio, video, times), own, atol=1e-5, rtol=0)
        attention.log_slopes.fill_(-30.0)
        order = torch.tensor([2, 0, 3, 1])
        found = attention(audio, video[:, order], times)
        torch.testing.assert_close(found, attention(audio, video, times), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"fusion": "sum"}, "fusion"),
        ({"num_heads": 3}, "num_heads=3 does not divide fusion_dim=16"),
        ({"dropout": 1.0}, "dropout=1.0 was given"),
        ({"modality_dropout": 1.5}, "modality_dropout=1.5 was given"),
        ({"frames_per_segment": 0}, "frames_per_segment=0 was given"),
        ({"video_config": {"model_type": "none"}}, "model_type 'none', which Transformers does not know"),
        ({"video_config": CLIPConfig()}, "has no hidden_size; give the configuration of its vision encoder"),
    ],
)
def test_an_impossible_configuration_is_refused_in_one_sentence(av, settings, sentence):
    config = av.config().to_dict()
    own = {name: config[name] for name in ("audio_config", "video_config", "fusion_dim")}
    with pytest.raises((StrictDataclassError, ValueError), match=sentence):
        AudioVisualConfig(**(own | settings))

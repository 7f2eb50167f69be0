"""recipes/audio_visual/model/modeling_audio_visual.py: the laws of both sides, alone, in a batch and missing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import SiglipVisionConfig, TimesformerConfig

from recipes.audio_visual.model import AudioVisualConfig, AudioVisualForClassification

OUTPUTS = ("logits", "modality_weights", "segment_times", "visual_segment_times", "pooler_output")
SECONDS = st.floats(0.05, 1.5)


def outputs_of(model, batch):
    with torch.no_grad():
        output = model(**batch)
    return {name: output[name] for name in OUTPUTS if output.get(name) is not None}


@pytest.fixture(scope="module")
def models(av):
    """One model of each fusion, with an image encoder and with a video encoder."""
    return [av.model(fusion, sees_videos) for fusion in av.fusions for sees_videos in (False, True)]


@settings(max_examples=6)
@given(lengths=st.lists(st.tuples(SECONDS, st.sampled_from(["both", "audio", "video"])), min_size=2, max_size=4))
def test_a_clip_gives_the_same_alone_and_in_any_batch_also_with_a_side_missing(av, models, lengths):
    clips = [av.clip(seconds, seed, side) for seed, (seconds, side) in enumerate(lengths)]
    for model in models:
        batched = outputs_of(model, av.batch(clips))
        for row, clip in enumerate(clips):
            for name, value in outputs_of(model, clip).items():
                torch.testing.assert_close(batched[name][row], value[0], atol=1e-5, rtol=0)


@settings(max_examples=5)
@given(noise=st.sampled_from([1e9, float("inf"), float("nan"), -3.0]), first=SECONDS, second=SECONDS)
def test_padding_values_of_either_side_never_change_the_output_bit_for_bit(av, models, noise, first, second):
    clips = [av.clip(first, 0), av.clip(second, 1), av.clip(0.5, 2, "audio"), av.clip(0.6, 3, "video")]
    for model in models:
        expected = outputs_of(model, av.batch(clips))
        for name, value in outputs_of(model, av.batch(clips, noise)).items():
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("noise", [0.0, float("nan")])
def test_gradients_are_finite_where_padding_is_not(av, noise):
    for fusion in av.fusions:
        model = av.model(fusion).train()
        clips = [av.clip(0.5, 0), av.clip(0.9, 1), av.clip(0.5, 2, "audio"), av.clip(0.6, 3, "video")]
        model(**av.batch(clips, noise), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        assert all(each.isfinite().all() for each in gradients.values())
        assert gradients.keys() >= {"audio_projection.missing", "video_projection.missing"}


@pytest.mark.parametrize("side", ["audio", "video"])
def test_a_side_that_is_missing_is_the_same_as_a_masked_one(av, models, side):
    other = {"audio": "attention_mask", "video": "video_mask"}
    masked = next(name for each, name in other.items() if each != side)
    for model in models:
        both = av.batch([av.clip(0.8, 0), av.clip(0.8, 1)])
        alone = av.batch([av.clip(0.8, 0, side), av.clip(0.8, 1, side)])
        expected = outputs_of(model, alone)
        found = outputs_of(model, both | {masked: torch.zeros_like(both[masked])})
        for name, value in expected.items():
            assert torch.equal(found[name], value), (name, model.config.fusion)


@settings(max_examples=30)
@given(seconds=st.floats(0.05, 2.0), rate=st.sampled_from([10.0, 24.0, 25.0, 29.97, 60.0]))
def test_the_times_of_both_sides_align_to_within_half_a_video_frame(av, seconds, rate):
    model, clip = av.model("concat"), av.clip(seconds)
    count = max(1, round(seconds * rate))
    borders = torch.arange(count + 1) / rate
    times = torch.stack([borders[:-1], borders[1:]], -1)[None]
    clip |= {"pixel_values": torch.zeros(1, count, 3, 8, 8), "frame_times": times}
    clip["video_mask"] = torch.ones(1, count)
    output = model(**clip)
    heard, seen = output.segment_times[0], output.visual_segment_times[0]
    half = 0.5 / rate + 0.011  # the audio is counted in log-mel frames of 10 ms
    if seconds / 4 > 1 / rate:  # a segment holds a frame
        assert (heard[1:, 0] - seen[1:, 0]).abs().max() <= 0.5 / rate + 1e-3
        assert (heard - seen).abs().max() <= half
    else:
        assert (heard.mean(-1) - seen.mean(-1)).abs().max() <= half


def test_without_audio_the_segments_tile_the_video(av):
    output = av.model()(**av.clip(1.0, side="video"))
    torch.testing.assert_close(output.segment_times[0, :, 0], torch.arange(4) / 4)
    assert output.modality_mask.tolist() == [[0, 1]]


def test_weights_are_shares_of_the_sides_that_are_there(av, models):
    clips = [av.clip(0.7, 0), av.clip(0.5, 1, "audio"), av.clip(0.6, 2, "video")]
    for model in models:
        weights = model(**av.batch(clips)).modality_weights
        assert weights.shape == (3, 2, 4) and (weights >= 0).all()
        torch.testing.assert_close(weights.sum((1, 2)), torch.ones(3))
        assert (weights[1, 1] == 0).all() and (weights[2, 0] == 0).all()


@pytest.mark.parametrize("side", ["both", "video"])
def test_a_span_is_cut_into_segments_on_both_sides(av, side):
    for model in (av.model("liquid"), av.model("gated", True)):
        clip = av.clip(1.6, side=side)
        output = model(**clip, spans=torch.tensor([[0.4, 1.2]]))
        torch.testing.assert_close(output.segment_times[0, :, 0], 0.4 + 0.2 * torch.arange(4))
        assert (output.visual_segment_times - output.segment_times).abs().max() <= 0.021
        assert not torch.equal(output.logits, model(**clip).logits)


@pytest.mark.parametrize("config_class, kind", [(TimesformerConfig, "video"), (SiglipVisionConfig, "image")])
def test_other_encoders_of_transformers_are_the_visual_side(av, config_class, kind):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"image_size": 8, "patch_size": 4} | ({"num_frames": 2} if kind == "video" else {})
    config = AudioVisualConfig(
        audio_config=av.config().audio_config, video_config=config_class(**sizes), fusion_dim=16, num_labels=3
    )
    assert config.sees_videos == (kind == "video")
    model = AudioVisualForClassification(config).eval()
    assert model(**av.clip(0.5)).logits.shape == (1, 3)


def test_modality_dropout_takes_one_side_of_some_clips_in_training_only(av):
    model, batch = av.model(modality_dropout=0.5), av.batch([av.clip(0.3, seed) for seed in range(40)])
    assert model(**batch).modality_mask.all()
    mask = model.train()(**batch).modality_mask
    assert (mask.sum(-1) >= 1).all() and 8 <= (mask.sum(-1) == 1).sum() <= 32
    assert 0 < (mask[:, 0] == 0).sum() and 0 < (mask[:, 1] == 0).sum()
    alone = av.batch([av.clip(0.3, seed, "audio") for seed in range(8)])
    assert model(**alone).modality_mask[:, 0].all()  # never the only side


@pytest.mark.parametrize("side", ["audio", "video"])
def test_a_frozen_side_does_not_move(av, side, tmp_path):
    for model in (av.model(**{f"freeze_{side}": True}), av.model()):
        model.freeze(side)
        if model.config.freeze_audio or model.config.freeze_video:
            model.save_pretrained(tmp_path)
            model = AudioVisualForClassification.from_pretrained(tmp_path)
        model.train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        model(**av.batch([av.clip(0.5, 0), av.clip(0.6, 1)]), labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        part = "audio_branch." if side == "audio" else "visual_branch.encoder."
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved and not any(name.startswith(part) for name in moved)
        assert not any(each.training for each in model.get_submodule(part.rstrip(".")).modules())
        model.unfreeze(side)
        assert any(each.requires_grad for each in model.get_submodule(part.rstrip(".")).parameters())


def test_every_parameter_that_trains_has_a_gradient(av):
    for fusion in av.fusions:
        model = av.model(fusion)
        clips = [av.clip(0.5, 0), av.clip(0.6, 1, "audio"), av.clip(0.6, 2, "video")]
        model(**av.batch(clips), labels=torch.tensor([0, 1, 2])).loss.backward()
        assert [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None] == []


def test_two_trained_sides_make_a_new_model_with_their_weights(sides):
    model = AudioVisualForClassification.from_branches(*sides, fusion="gated", num_labels=2)
    from transformers import ViTModel

    from modeling_audio_branch import AudioBranchModel

    for part, loaded in (
        (model.audio_branch, AudioBranchModel.from_pretrained(sides[0])),
        (model.visual_branch.encoder, ViTModel.from_pretrained(sides[1])),
    ):
        assert part.state_dict().keys() == loaded.state_dict().keys()
        assert all(torch.equal(part.state_dict()[name], value) for name, value in loaded.state_dict().items())


def test_wrong_inputs_are_one_sentence(av):
    model, clip = av.model(), av.clip(0.5)
    for change, sentence in (
        ({"input_features": None, "pixel_values": None}, "Neither input_features nor pixel_values"),
        ({"pixel_values": clip["pixel_values"][0]}, "pixel_values has the shape"),
        ({"frame_times": None}, "frame_times has the shape None"),
        ({"video_mask": torch.tensor([[0] * 11 + [1] * 1])}, "1 after a 0"),
        ({"spans": torch.zeros(2, 2)}, "spans has the shape"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model(**(clip | change))
    with pytest.raises(ValueError, match="no side to freeze"):
        model.freeze("smell")


@pytest.mark.parametrize("span", [(5.0, 6.0), (0.9, 0.2), (-1.0, 0.5), (float("nan"), 0.5), (0.1, 9.0)])
def test_a_span_outside_a_video_without_sound_is_one_sentence(av, span):
    model, clip = av.model("gated"), av.clip(0.8, side="video")
    with pytest.raises(ValueError, match="The span of clip 0 is from .* both inside the video's 0 to"):
        model(**clip, spans=torch.tensor([span]))

"""Laws of the batch: what else is in it, and what the padding holds, never changes a clip's features."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.assertions import assert_same_clips, rounding
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import POOLING_CHOICES, any_architectures, architectures, lengths, worths
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel


@given(any_architectures, lengths, worths)
@settings(max_examples=60)
def test_a_clip_is_embedded_the_same_alone_and_in_any_batch(choices, lengths, worth):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    model.encoder.group_worth = worth
    extractor = AudioBranchFeatureExtractor.from_model_config(model.config)
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        assert_same_clips(model(waveform, attention_mask=mask), alone, rounding(choices))
        features = extractor(clips, sampling_rate=16000, return_tensors="pt")
        assert_same_clips(model(**features), alone, rounding(choices))


@pytest.mark.parametrize("pooling", POOLING_CHOICES)
@pytest.mark.parametrize("position_embedding", ["relative", "rotary", "none"])
@pytest.mark.parametrize("subsampling_factor", [1, 4, 8])
@pytest.mark.parametrize("attention_window", [None, 3])
@pytest.mark.parametrize("conv_norm", ["batch", "layer"])
def test_padding_changes_nothing_in_any_architecture(
    pooling, position_embedding, subsampling_factor, attention_window, conv_norm
):
    config = tiny_config(
        **pooling,
        position_embedding=position_embedding,
        subsampling_factor=subsampling_factor,
        attention_window=attention_window,
        conv_norm=conv_norm,
    )
    model = make_model(AudioBranchModel, config)
    clips = random_clips([5000, 12345, 1600])
    with torch.no_grad():
        alone = [model(clip[None]) for clip in clips]
        for padding, worth in ((0.0, 0), (1e4, 1000), (float("nan"), 1)):
            waveform, mask = pad(clips, padding)
            model.encoder.group_worth = worth
            assert_same_clips(model(waveform, attention_mask=mask), alone, rounding(pooling))


@pytest.mark.parametrize("preset", ["lightweight", "large"])
def test_a_full_size_preset_embeds_a_clip_the_same_alone_and_in_a_batch(preset):
    torch.manual_seed(0)
    config = tiny_config()
    config = getattr(type(config), preset)(num_layers=4)
    model = make_model(AudioBranchModel, config)
    clips = random_clips([16000, 40000])
    waveform, mask = pad(clips, float("inf"))
    with torch.no_grad():
        assert_same_clips(model(waveform, attention_mask=mask), [model(clip[None]) for clip in clips], tolerance=1e-4)


@given(any_architectures, lengths, st.sampled_from([1.0, 1e30, float("nan"), float("inf"), -float("inf")]), worths)
def test_what_lies_in_the_padding_never_matters(choices, lengths, value, worth):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    model.encoder.group_worth = worth
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    dirty = waveform.masked_fill(mask == 0, value)
    with torch.no_grad():
        clean_output, dirty_output = model(waveform, attention_mask=mask), model(dirty, attention_mask=mask)
        for name, expected in clean_output.items():
            torch.testing.assert_close(dirty_output[name], expected, atol=0, rtol=0, msg=name)
        frames, frame_mask = model.front_end.log_mel(waveform, mask)
        dirty = frames.masked_fill(~frame_mask[..., None], value)
        for name, got in model(dirty, attention_mask=frame_mask).items():
            torch.testing.assert_close(got, clean_output[name], atol=0, rtol=0, msg=name)


@given(architectures, lengths, st.randoms())
def test_two_calls_agree_in_any_order_of_the_batch_and_no_input_is_modified(choices, lengths, random):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    clips = random_clips(lengths)
    waveform, mask = pad(clips, 3.0)
    inputs = waveform.clone(), mask.clone()
    order = list(range(len(clips)))
    random.shuffle(order)
    with torch.no_grad():
        first, second = model(waveform, attention_mask=mask), model(waveform, attention_mask=mask)
        shuffled = model(waveform[order], attention_mask=mask[order])
    assert torch.equal(waveform, inputs[0]) and torch.equal(mask, inputs[1])
    for name, expected in first.items():
        assert torch.equal(second[name], expected), name
        torch.testing.assert_close(shuffled[name], expected[order], atol=1e-5, rtol=0, msg=name)


@given(architectures)
def test_dropping_the_mask_of_a_padded_batch_changes_the_output(choices):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    waveform, mask = pad(random_clips([6000, 12000]))
    with torch.no_grad():
        masked, unmasked = model(waveform, attention_mask=mask), model(waveform)
    assert (masked.segment_features[0] - unmasked.segment_features[0]).abs().max() > 1e-3
    torch.testing.assert_close(masked.segment_features[1], unmasked.segment_features[1], atol=1e-5, rtol=0)

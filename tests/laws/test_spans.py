"""Laws of spans: a span that is a clip gives the clip's segments, and no span depends on others or on the batch."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.assertions import rounding
from helpers.encoders import ENCODERS, make
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import POOLING_CHOICES, architectures, convolutions, lengths, windows
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.spans import SlidingWindows

ABOUT_SEGMENTS = ("segment_features", "segment_times", "segment_mask", "pooler_output", "sequence_embedding")


def seconds_of(model, clip):
    """The duration of a clip in whole log-mel frames."""
    hop = model.config.hop_length
    return len(clip) // hop * hop / model.config.sample_rate


def draw_spans(data, seconds):
    places = st.floats(0, 1)
    pairs = data.draw(st.lists(st.tuples(places, places).filter(lambda p: abs(p[0] - p[1]) > 0.01), max_size=4))
    return [(min(pair) * seconds, max(pair) * seconds) for pair in pairs]


@given(architectures, windows, convolutions, lengths)
@example({"subsampling_factor": 4}, {}, {"causal_subsampling": True}, [160, 1120])  # a frame behind the last whole one
@settings(max_examples=40)
def test_one_span_over_each_whole_clip_equals_no_spans_bit_for_bit(choices, window, convolution, lengths):
    model = make_model(AudioBranchModel, tiny_config(**(choices | window | convolution)))
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    spans = [[(0.0, seconds_of(model, clip))] for clip in clips]
    with torch.no_grad():
        expected, got = model(waveform, attention_mask=mask), model(waveform, attention_mask=mask, spans=spans)
        given_as_tensor = model(waveform, attention_mask=mask, spans=torch.tensor(spans))
    for name in ABOUT_SEGMENTS:
        assert torch.equal(got[name].squeeze(1), expected[name]), name
        assert torch.equal(given_as_tensor[name], got[name]), name


@given(architectures, windows, lengths, st.data())
@settings(max_examples=40)
def test_a_span_is_embedded_the_same_alone_with_others_and_in_any_batch(choices, window, lengths, data):
    model = make_model(AudioBranchModel, tiny_config(**(choices | window)))
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    spans = [draw_spans(data, seconds_of(model, clip)) for clip in clips]
    with torch.no_grad():
        together = model(waveform, attention_mask=mask, spans=spans)
        most = max(map(len, spans))
        assert together.segment_features.shape == (len(clips), most, model.config.num_segments, 12)
        for index, clip in enumerate(clips):
            assert together.segment_mask[index, len(spans[index]) :].sum() == 0
            assert not together.segment_features[index, len(spans[index]) :].any()
            for number, span in enumerate(spans[index]):
                alone = model(clip[None], spans=[[span]])
                assert together.segment_mask[index, number].all()
                for name in ABOUT_SEGMENTS:
                    expected = alone[name][0, 0]
                    torch.testing.assert_close(together[name][index, number], expected, atol=1e-5, rtol=0, msg=name)


@given(architectures, lengths, st.floats(0.05, 0.9), st.floats(0.05, 0.5))
@settings(max_examples=20)
def test_windows_of_encode_are_the_spans_that_slide(choices, lengths, window, hop):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    clips = random_clips(lengths)
    sliding = SlidingWindows(window, hop)
    spans = [sliding.of(seconds_of(model, clip)) for clip in clips]
    got = model.encode(clips, sampling_rate=16000, window_seconds=window, hop_seconds=hop, batch_size=2)
    expected = model.encode(clips, sampling_rate=16000, spans=spans, batch_size=1)
    for name in ABOUT_SEGMENTS:
        torch.testing.assert_close(got[name], expected[name], atol=1e-5, rtol=0, msg=name)
    single = model.encode(clips[0], sampling_rate=16000, spans=spans[0])
    assert single.segment_features.shape == (len(spans[0]), model.config.num_segments, 12)
    torch.testing.assert_close(single.pooler_output, got.pooler_output[0, : len(spans[0])], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_spans_of_other_encoders_tile_their_clips(name):
    model = make(name)
    clip = random_clips([16000])[0]
    extractor = AudioBranchFeatureExtractor.from_model(model)
    inputs = extractor(clip, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        whole = model(**inputs)
        end = whole.segment_times[0, -1, 1].item()
        spans = model(**inputs, spans=[[(0.0, end), (0.0, end / 2), (end / 2, end)]])
    torch.testing.assert_close(spans.segment_features[0, 0], whole.segment_features[0], atol=1e-5, rtol=0)
    assert spans.segment_features.isfinite().all() and spans.segment_mask.all()
    assert spans.segment_times[0, 1, -1, 1] == spans.segment_times[0, 2, 0, 0]


def test_gradients_flow_through_spans():
    model = make_model(AudioBranchModel, tiny_config()).train()
    waveform, mask = pad(random_clips([9000, 16000]))
    output = model(waveform, attention_mask=mask, spans=[[(0.1, 0.3)], [(0.0, 0.5), (0.4, 0.9)]])
    output.segment_features.sin().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.encoder.layers[0].self_attn.qkv_proj.weight.grad.any()


def test_a_classifier_judges_each_span_and_a_skipped_clip_has_nan_alone():
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    clips = [random_clips([16000])[0], "missing.wav", random_clips([9000])[0]]
    spans = [[(0.0, 0.5), (0.2, 1.0)], [], [(0.1, 0.4)]]
    output = model.encode(clips, sampling_rate=16000, spans=spans, on_error="skip")
    assert output.logits.shape == output.probabilities.shape == (3, 2, 3)
    assert output.logits[1].isnan().all() and output.logits[[0, 2]].isfinite().all()
    alone = model.encode(clips[0], sampling_rate=16000, spans=spans[0])
    torch.testing.assert_close(alone.logits, output.logits[0], atol=1e-5, rtol=0)
    windows = model.encode(clips[0], sampling_rate=16000, window_seconds=0.5)
    assert windows.logits.shape == (5, 3)
    skipped = model.encode("missing.wav", sampling_rate=16000, window_seconds=0.5, on_error="skip")
    assert skipped.logits.shape == (0, 3) and list(skipped.errors) == [0]


@given(st.integers(1000, 40000), st.floats(0.05, 3.0), st.sampled_from(POOLING_CHOICES))
@settings(max_examples=15)
def test_spans_that_tile_a_clip_equal_segment_seconds(length, seconds, pooling):
    model = make_model(AudioBranchModel, tiny_config(num_layers=1, **pooling))
    clip = random_clips([length])[0]
    duration = length // 160 / 100
    borders = [index * seconds for index in range(math.ceil(duration / seconds - 1e-6))] + [duration]
    tiled = model.encode(clip, sampling_rate=16000, spans=list(itertools.pairwise(borders)))
    by_seconds = model.encode(clip, sampling_rate=16000, segment_seconds=seconds)
    for name, value in tiled.items():
        torch.testing.assert_close(by_seconds[name], value, atol=rounding(pooling), rtol=0, msg=name)
    assert by_seconds.segment_times[0, 0, 0] == 0
    assert by_seconds.segment_times[-1, -1, 1] == pytest.approx(duration, abs=1e-5)


def test_the_times_of_windows_are_their_spans():
    """Though they are in float32, which is coarse in long recordings."""
    model = make_model(AudioBranchModel, tiny_config(num_layers=1))
    clip = random_clips([40 * 16000])[0]
    windows = model.encode(clip, sampling_rate=16000, window_seconds=2.0, hop_seconds=0.05)
    times = torch.stack([windows.segment_times[:, 0, 0], windows.segment_times[:, -1, 1]], dim=-1)
    again = model.encode(clip, sampling_rate=16000, spans=times)
    torch.testing.assert_close(again.segment_features, windows.segment_features, atol=1e-5, rtol=0)


def test_a_span_of_a_clip_that_is_too_short_for_an_encoder_frame_is_not_valid():
    model = make("wav2vec2")
    waveform = random_clips([16000])[0].expand(2, -1)
    with torch.no_grad():
        output = model(input_values=waveform, lengths=[100, 16000], spans=[[(0.0, 0.00625)], [(0.0, 0.5)]])
    assert output.segment_mask.sum(-1).flatten().tolist() == [0, model.config.num_segments]
    assert not output.segment_features[0].any() and output.segment_features[1].any()


def test_a_wrong_span_is_named_by_the_clip_of_the_call():
    model = make_model(AudioBranchModel, tiny_config())
    clips = random_clips([16000, 4000, 9000])
    with pytest.raises(ValueError, match=r"Span 0 is from 0 to 2 s.*0 to 1 s \(of clip 0\)"):
        model.encode(clips, sampling_rate=16000, spans=[[(0, 2)], [(0, 0.1)], [(0, 0.1)]], batch_size=2)

"""Spans: from seconds to frames, their pooling, and what is refused in one sentence."""

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.assertions import rounding
from helpers.models import make_model, tiny_config
from helpers.strategies import POOLING_CHOICES
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.spans import SlidingWindows, SpanError, find_spans, pool_spans, spans_of_clips

frame_spans = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 39), st.integers(1, 40)).filter(lambda s: s[1] < s[2]),
    min_size=1,
    max_size=6,
)


def pooling_of(choices):
    return make_model(AudioBranchModel, tiny_config(**choices)).pooling


@given(st.sampled_from(POOLING_CHOICES), frame_spans)
def test_a_span_is_pooled_as_a_clip_of_its_frames(choices, spans):
    pooling = pooling_of(choices)
    states = torch.randn(2, 40, 16)
    with torch.no_grad():
        got, _ = pool_spans(pooling, states, spans)
        for segments, (clip, first, stop) in zip(got, spans, strict=True):
            inside = states[clip : clip + 1, first:stop]
            alone, _, _ = pooling(inside, torch.ones(inside.shape[:2], dtype=torch.bool))
            torch.testing.assert_close(segments, alone[0], atol=rounding(choices), rtol=0)


@given(st.sampled_from(POOLING_CHOICES), frame_spans)
def test_frames_outside_of_every_span_enter_neither_the_segments_nor_the_gradient(choices, spans):
    pooling = pooling_of(choices)
    states = torch.randn(2, 40, 16)
    inside = torch.zeros(2, 40, dtype=torch.bool)
    for clip, first, stop in spans:
        inside[clip, first:stop] = True
    expected, _ = pool_spans(pooling, states, spans)
    states = states.masked_fill(~inside.unsqueeze(-1), torch.nan).requires_grad_()
    got, _ = pool_spans(pooling, states, spans)
    assert torch.equal(got, expected)
    got.sin().sum().backward()
    assert (states.grad != 0).any(-1)[inside].all() or choices["pooling_type"] == "max"
    assert not states.grad[~inside].any()


@pytest.mark.parametrize("choices", POOLING_CHOICES)
def test_a_span_without_a_frame_gives_finite_segments_without_a_meaning(choices):
    spans = [(0, 0, 0), (1, 3, 9)]
    segments, _ = pool_spans(pooling_of(choices), torch.randn(2, 40, 16), spans)
    assert segments.shape[0] == 2 and segments.isfinite().all()


@pytest.mark.parametrize("choices", POOLING_CHOICES)
def test_pooling_spans_takes_memory_for_the_frames_inside_them_not_for_the_recording(choices):
    pooling, largest = pooling_of(choices), {}

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for tensor in torch.utils._pytree.tree_leaves(result):
                if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() != states_memory:
                    largest[num_frames] = max(largest.get(num_frames, 0), tensor.untyped_storage().nbytes())
            return result

    for num_frames in (1000, 50_000):
        states = torch.randn(1, num_frames, 16)
        states_memory = states.untyped_storage().data_ptr()
        with torch.no_grad(), Watch():
            pool_spans(pooling, states, [(0, start, start + 20) for start in range(0, 900, 30)])
    assert largest[50_000] == largest[1000]


@given(st.integers(1, 500), st.sampled_from([0.08, 0.04, None]), st.data())
def test_a_span_has_the_frames_that_it_touches(count, frame_seconds, data):
    length = frame_seconds or 0.05
    seconds = count * length
    start, end = sorted(data.draw(st.tuples(st.floats(0, seconds), st.floats(0, seconds))))
    if start == end:
        return
    ((clip, first, stop),) = find_spans([[(start, end)]], [seconds], [count], frame_seconds).frames
    assert clip == 0 and 0 <= first < stop <= count
    assert first * length <= start + 1e-3 * length and end <= stop * length + 1e-3 * length
    assert (first + 1) * length > start - 1e-3 * length
    assert (stop - 1) * length < end + 1e-3 * length or stop == first + 1 or end > seconds - 1e-3


@pytest.mark.parametrize(
    ("spans", "sentence"),
    [
        ([[(0.5, 0.2)], []], r"Span 0 is from 0.5 to 0.2 s, but must start before it ends.* 0 to 1 s \(of clip 0\)"),
        ([[], [(0.0, 1.0), (1.0, 1.0)]], r"Span 1 is from 1 to 1 s.*0 to 2 s \(of clip 1\)"),
        ([[(-0.1, 0.5)], []], "Span 0 is from -0.1"),
        ([[(0.0, 1.5)], []], "Span 0 is from 0 to 1.5 s"),
        ([[(math.nan, 0.5)], []], "Span 0 is from nan"),
        ([[(0.0, math.inf)], []], "Span 0 is from 0 to inf"),
        ([[(0.0, 0.5, 0.7)], []], r"The spans have the shape \(1, 3\); give pairs of start and end"),
        ([[0.0, 0.5], []], r"have the shape \(2,\)"),
        ([["a"], []], "The spans are no numbers; give pairs"),
        ([[(0, 10**400)], []], "The spans are no numbers; give pairs"),
        (5, "spans is a int; give pairs of start and end in seconds for each clip"),
        ([[(0.0, 0.5)]], "spans has an entry for 1 clips; give one for each of the 2"),
    ],
)
def test_an_impossible_span_is_refused_in_a_sentence(spans, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        find_spans(spans, [1.0, 2.0], [10, 20], 0.1)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


def test_a_span_may_end_with_the_audio_whose_last_samples_fill_no_log_mel_frame():
    spans = find_spans([[(0.0, 1.009)]], [1.0], [10], 0.1)
    assert spans.seconds == [[(0.0, 1.0)]] and spans.are_clips


@given(st.floats(0.01, 50), st.floats(0.1, 9), st.floats(0.05, 9))
def test_windows_slide_from_the_start_to_the_very_end(seconds, window, hop):
    spans = SlidingWindows(window, hop).of(seconds)
    starts = [start for start, _ in spans]
    assert spans[0][0] == 0 and spans[-1][1] == pytest.approx(seconds) and starts == sorted(set(starts))
    for start, end in spans:
        assert end - start == pytest.approx(min(window, seconds)) and end <= seconds + 1e-6
    for first, second in zip(starts, starts[1:], strict=False):
        assert second - first <= hop + 1e-6
    find_spans([spans], [seconds], [1000], None)


def test_spans_in_float32_have_the_frames_of_those_in_float64():
    for index in range(4000):
        span = (0.08 * index, 0.08 * (index + 20))
        arguments = ([500.0], [6250], 0.08)
        assert find_spans(torch.tensor([[span]]), *arguments).frames == find_spans([[span]], *arguments).frames
        assert find_spans([[span]], *arguments).frames == [(0, index, index + 20)]


def test_the_error_of_a_span_survives_its_way_from_another_process():
    error = pickle.loads(pickle.dumps(SpanError(3, "Span 0 is wrong")))
    assert str(error) == "Span 0 is wrong (of clip 3)." and error.clip == 3


def test_arguments_that_exclude_each_other_are_refused():
    assert spans_of_clips(None, None, None, None, 2, True) is None
    assert spans_of_clips([(0, 1)], None, None, None, 1, False) == [[(0, 1)]]
    assert spans_of_clips(None, 2.0, None, None, 2, True) == SlidingWindows(2.0, 0.5)
    assert spans_of_clips(None, None, None, 1.0, 2, True) == SlidingWindows(1.0, 1.0, last_is_shorter=True)
    for arguments, sentence in {
        ((((0, 1),),), 2.0, None, None): "spans and window_seconds were given; give one of them",
        (None, None, 1.0, None): "hop_seconds was given without window_seconds",
        ((((0, 1),),), None, None, None): "spans has an entry for 1 clips; give one for each of the 2",
        (None, 0.0, None, None): "window_seconds=0.0 was given; give a number of seconds, at least 0.001",
        (None, 1.0, math.nan, None): "hop_seconds=nan was given; give a number of seconds",
        (None, 1.0, 1e-9, None): "hop_seconds=1e-09 was given",
        (None, "2", None, None): "window_seconds='2' was given",
        (None, True, None, None): "window_seconds=True was given",
        (None, (0.3, 0.2), None, None): "window_seconds=.0.3, 0.2. was given",
        (None, 1.0, None, 1.0): "window_seconds and segment_seconds were given; give one of them",
        (None, None, 1.0, 1.0): "hop_seconds was given without window_seconds",
        (None, None, None, math.inf): "segment_seconds=inf was given; give a number of seconds",
        (5, None, None, None): "spans is a int; give pairs",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            spans_of_clips(*arguments, 2, True)

"""Spans in exported models: the frames are those that `spans.py` finds, and what is no span of its clip is masked."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.assertions import rounding
from helpers.models import make_model, tiny_config
from helpers.strategies import POOLING_CHOICES
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export.exportable import Exportable
from modeling_audio_branch.export.traced_spans import frames_of_spans
from modeling_audio_branch.spans import SpanError, find_spans


def assert_same_frames(spans, count, frame_seconds, seconds):
    """Spans of one clip, on the host and as tensors of float32."""
    spans = torch.tensor([spans], dtype=torch.float32)
    borders, first, sizes, valid = frames_of_spans(
        spans, torch.tensor([seconds], dtype=torch.float64), torch.tensor([count]), frame_seconds
    )
    for index, span in enumerate(spans[0]):
        try:
            found = find_spans([[span.tolist()]], [seconds], [count], frame_seconds)
        except SpanError:
            assert not valid[0, index] and sizes[0, index] == 0 and not borders[0, index].any()
            continue
        _, start, stop = found.frames[0]
        assert valid[0, index]
        assert (first[0, index], first[0, index] + sizes[0, index]) == (start, stop), span
        torch.testing.assert_close(borders[0, index], torch.stack(found.borders("cpu"), -1)[0], atol=0, rtol=0)


TIMES = st.floats(-0.1, 12.0) | st.integers(0, 120).map(lambda tenth: tenth / 10) | st.just(math.nan)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=6), st.integers(1, 1000), st.sampled_from([1, 4, 8]))
@settings(max_examples=300, deadline=None)
def test_the_frames_of_spans_are_those_of_the_host(spans, num_frames, factor):
    seconds, count = num_frames * 0.01, math.ceil(num_frames / factor)
    for frame_seconds in (0.01 * factor, None):
        assert_same_frames(spans, count, frame_seconds, seconds)


def test_borders_of_frames_and_the_end_of_a_clip_are_met():
    borders = [index * 0.08 for index in range(26)]
    spans = [(start, end) for start in borders for end in borders if start < end]
    assert_same_frames(spans, 25, 0.08, 2.0)
    assert_same_frames([(1.9, 2.0), (1.99, 2.015), (0, 2.02), (0, 2.03), (1.9995, 2.0)], 25, 0.08, 2.0)
    assert_same_frames([(0, 2.0), (1.0, 1.9995), (1.0, 1.99)], 26, 0.08, 2.0)  # some subsamplings have a frame more


def test_a_clip_without_a_frame_has_no_span():
    _, _, sizes, valid = frames_of_spans(torch.tensor([[[0.0, 0.01]]]), torch.zeros(1), torch.zeros(1).long(), None)
    assert not sizes.any() and not valid.any()


@pytest.mark.parametrize("pooling", POOLING_CHOICES)
def test_unlike_numbers_of_spans_are_filled_with_zeros(pooling):
    model = make_model(AudioBranchModel, tiny_config(**pooling, subsampling_factor=4))
    exportable = Exportable(model, "features", spans=True)
    features = torch.randn(3, 100, 20, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(100) < torch.tensor([[100], [56], [0]])).long()
    spans = torch.tensor([[[0, 1.0], [0.2, 0.7]], [[0.1, 0.3], [0, 0]], [[0, 0.01], [math.nan, 1]]])
    with torch.no_grad():
        segments, times, valid, pooled = exportable(features, mask, spans)
        expected = model(features, mask, spans=[spans[0], spans[1, :1], []])
    torch.testing.assert_close(segments, expected.segment_features, atol=rounding(pooling), rtol=0)
    torch.testing.assert_close(times, expected.segment_times, atol=1e-6, rtol=0)
    torch.testing.assert_close(pooled, expected.pooler_output, atol=rounding(pooling), rtol=0)
    assert torch.equal(valid, expected.segment_mask) and valid.sum(-1).tolist() == [[4, 4], [4, 0], [0, 0]]

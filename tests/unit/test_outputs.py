"""What follows from the segments."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_audio_branch.outputs import sequence_embedding, times_of_segments


@given(st.integers(1, 8), st.integers(1, 12))
def test_the_product_of_two_sequence_embeddings_is_the_mean_cosine_of_their_segments_in_order(segments, size):
    first, second = torch.randn(2, segments, size, dtype=torch.float64)
    cosine = torch.cosine_similarity(first, second, dim=-1).mean()
    product = sequence_embedding(first) @ sequence_embedding(second)
    torch.testing.assert_close(product, cosine, atol=1e-6, rtol=0)
    assert not sequence_embedding(torch.zeros(segments, size)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_segments_of_zeros_give_zeros_and_finite_gradients_in_every_dtype(dtype):
    features = torch.zeros(2, 3, 4, dtype=dtype)
    features[0] = 1
    features.requires_grad_()
    embedding = sequence_embedding(features)
    embedding.sum().backward()
    assert embedding.dtype == dtype and not embedding[1].any() and features.grad.isfinite().all()


@given(st.floats(0, 9), st.floats(0.1, 9), st.integers(1, 8))
def test_segments_tile_a_span(start, seconds, segments):
    times = times_of_segments(torch.tensor([start]), torch.tensor([start + seconds]), segments)[0]
    assert times.shape == (segments, 2)
    torch.testing.assert_close(times[1:, 0], times[:-1, 1], atol=0, rtol=0)
    torch.testing.assert_close(times[[0, -1], [0, 1]], torch.tensor([start, start + seconds]), atol=1e-5, rtol=0)
    torch.testing.assert_close(times.diff().squeeze(-1), torch.full((segments,), seconds / segments), atol=1e-5, rtol=0)

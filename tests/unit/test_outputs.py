"""What follows from the segments."""

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


@given(st.floats(0, 9), st.floats(0.1, 9), st.integers(1, 8))
def test_segments_tile_a_span(start, seconds, segments):
    times = times_of_segments(torch.tensor([start]), torch.tensor([start + seconds]), segments)[0]
    assert times.shape == (segments, 2)
    torch.testing.assert_close(times[1:, 0], times[:-1, 1], atol=0, rtol=0)
    torch.testing.assert_close(times[[0, -1], [0, 1]], torch.tensor([start, start + seconds]), atol=1e-5, rtol=0)
    torch.testing.assert_close(times.diff().squeeze(-1), torch.full((segments,), seconds / segments), atol=1e-5, rtol=0)

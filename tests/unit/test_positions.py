"""Position embeddings equal their definitions."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import tiny_config
from modeling_audio_branch.positions import (
    apply_rotary,
    compute_position_embeddings,
    relative_position_embeddings,
    relative_shift,
    rotary_position_embeddings,
)

FLOAT = torch.zeros(0)


@given(st.integers(-9, 9), st.integers(0, 9), st.sampled_from([2, 6]))
def test_relative_embeddings_are_sinusoids_from_the_first_position_down_to_the_last(first, count, dim):
    embeddings = relative_position_embeddings(first, first - count, dim, FLOAT)
    assert embeddings.shape == (count + 1, dim)
    for row, position in enumerate(range(first, first - count - 1, -1)):
        for pair in range(dim // 2):
            angle = position / 10000 ** (2 * pair / dim)
            expected = torch.tensor([math.sin(angle), math.cos(angle)])
            torch.testing.assert_close(embeddings[row, 2 * pair : 2 * pair + 2], expected, atol=1e-5, rtol=0)


@given(st.integers(1, 7), st.integers(1, 7))
def test_the_relative_shift_moves_each_score_to_its_key(num_queries, num_keys):
    scores = torch.randn(2, 3, num_queries, num_queries + num_keys + 1)
    shifted = relative_shift(scores, num_keys)
    assert shifted.shape == (2, 3, num_queries, num_keys)
    for query in range(num_queries):
        for key in range(num_keys):
            assert torch.equal(shifted[..., query, key], scores[..., query, num_queries - query + key])


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_rotary_scores_depend_on_the_distance_alone(first, second, shift):
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=generator, dtype=torch.float64)
    cosine, sine = rotary_position_embeddings(torch.arange(41), 8, query)

    def score(i, j):
        turned = (apply_rotary(each, cosine[[at]], sine[[at]]) for each, at in ((query, i), (key, j)))
        return torch.mul(*turned).sum()

    torch.testing.assert_close(score(first, second), score(first + shift, second + shift), atol=1e-4, rtol=0)


def test_the_embeddings_are_those_of_all_distances_within_reach():
    config = tiny_config(position_embedding="relative")  # heads of 8 numbers
    embeddings = compute_position_embeddings(config, torch.arange(3), 5, FLOAT)
    expected = relative_position_embeddings(5, -5, config.d_model, FLOAT) / 8**0.5
    torch.testing.assert_close(embeddings, expected, atol=1e-6, rtol=0)
    cosine, _ = compute_position_embeddings(tiny_config(position_embedding="rotary"), torch.arange(3), 5, FLOAT)
    assert cosine.shape == (3, 8)
    assert compute_position_embeddings(tiny_config(position_embedding="none"), torch.arange(3), 5, FLOAT) is None

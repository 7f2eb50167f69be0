"""Dynamic time warping."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from recipes.phrases.dtw import cosine_distance, dtw_cost, dtw_path


def naive_cost(a, b):
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            before = min(total[i, j], total[i, j + 1], total[i + 1, j])
            total[i + 1, j + 1] = 1 - float(a[i] @ b[j]) + before
    return total[-1, -1] / (len(a) + len(b))


def test_the_warping_baseline_is_dynamic_time_warping():
    query, *keys = (F.normalize(torch.randn(length, 5), dim=-1) for length in (7, 4, 9, 7))
    costs = [dtw_cost(cosine_distance(query, key)) for key in keys]
    assert costs == pytest.approx([naive_cost(query, key) for key in keys], rel=1e-5)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9))
def test_a_warping_path_goes_from_corner_to_corner_at_the_least_cost(height, width, seed):
    distance = np.random.default_rng(seed).random((height, width))
    rows, columns = dtw_path(distance)
    assert (rows[0], columns[0]) == (0, 0) and (rows[-1], columns[-1]) == (height - 1, width - 1)
    steps = {*zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    least = np.full((height + 1, width + 1), np.inf)
    least[0, 0] = 0
    for row, column in np.ndindex(height, width):
        before = min(least[row, column], least[row, column + 1], least[row + 1, column])
        least[row + 1, column + 1] = before + distance[row, column]
    assert distance[rows, columns].sum() == pytest.approx(least[-1, -1], rel=1e-5)

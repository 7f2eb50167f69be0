"""Learned segmentation against numpy's interpolation of the mass that has passed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_audio_branch.segmentation import MIN_MASS, LearnedSegmentation


def cut(masses, num_segments):
    """The mass of each frame in each segment (S, T), and the borders (S + 1,) as parts of the time."""
    passed = np.concatenate([[0.0], np.cumsum(masses)]) * num_segments / np.sum(masses)
    segments = np.arange(num_segments)[:, None]
    inside = np.clip(passed[1:], segments, segments + 1) - np.clip(passed[:-1], segments, segments + 1)
    return inside, np.interp(np.arange(num_segments + 1), passed, np.arange(len(passed))) / len(masses)


def segmentation(num_segments, scale=1.0):
    module = LearnedSegmentation(16, num_segments)
    torch.nn.init.normal_(module.weight, std=scale)
    torch.nn.init.normal_(module.bias, std=scale)
    return module


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 10), st.floats(0, 3))
def test_segments_have_the_same_mass_and_their_borders_lie_where_it_has_passed(
    num_frames, num_segments, padding, scale
):
    module = segmentation(num_segments, scale)
    states = F.pad(torch.randn(1, num_frames, 16), (0, 0, 0, padding), value=7.0)
    mask = torch.arange(num_frames + padding)[None] < num_frames
    with torch.no_grad():
        inside, borders = module(states, mask)
        masses = torch.sigmoid(states[0, :num_frames] @ module.weight + module.bias) + MIN_MASS
    expected, expected_borders = cut(masses.double().numpy(), num_segments)
    np.testing.assert_allclose(inside[0, :, :num_frames], expected, atol=1e-5)
    np.testing.assert_allclose(borders[0], expected_borders, atol=1e-4)
    assert not inside[..., num_frames:].any()


@given(st.integers(1, 40), st.integers(1, 9))
def test_a_new_segmentation_cuts_at_equal_times(num_frames, num_segments):
    module = LearnedSegmentation(16, num_segments)
    module.init_parameters()
    _, borders = module(torch.randn(1, num_frames, 16), torch.ones(1, num_frames, dtype=torch.bool))
    torch.testing.assert_close(borders[0], torch.arange(num_segments + 1) / num_segments, atol=1e-6, rtol=0)


def test_a_clip_without_a_frame_has_no_mass_and_finite_borders_and_gradients():
    module = segmentation(4)
    states = torch.randn(2, 12, 16, requires_grad=True)
    mask = torch.tensor([[False] * 12, [True] * 12])
    inside, borders = module(states, mask)
    assert not borders.requires_grad
    inside.square().sum().backward()
    assert not inside[0].any() and borders.min() == 0 and borders.max() == 1
    assert states.grad.isfinite().all() and not states.grad[0].any() and states.grad[1].any()
    assert module.weight.grad.any() and module.bias.grad.any()

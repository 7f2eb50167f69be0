"""Masks: lengths to booleans, and the refusals of masks that users pass."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import pad, random_clips
from modeling_audio_branch.masks import checked_mask, is_tracing, length_mask


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 9))
def test_a_length_mask_is_true_on_as_many_first_positions_as_the_clip_has(lengths, size):
    mask = length_mask(torch.tensor(lengths), size)
    assert mask.tolist() == [[position < length for position in range(size)] for length in lengths]


def test_a_mask_of_another_shape_or_with_padding_on_the_left_is_refused():
    device = torch.device("cpu")
    _, mask = pad(random_clips([3, 5]))
    assert torch.equal(checked_mask(mask, (2, 5), device), mask.bool())
    assert checked_mask(None, (2, 5), device).all()
    with pytest.raises(ValueError, match=r"attention_mask has the shape \(2, 5\); give \(2, 6\)"):
        checked_mask(mask, (2, 6), device)
    with pytest.raises(ValueError, match="attention_mask has a 1 after a 0; pad on the right"):
        checked_mask(mask.flip(1), (2, 5), device)


def test_tracing_is_noticed():
    seen = []

    class Module(torch.nn.Module):
        def forward(self, states):
            seen.append(is_tracing())
            return states + 1

    torch.export.export(Module(), (torch.zeros(2),), strict=False)
    assert all(seen) and seen
    Module()(torch.zeros(2))
    assert seen[-1] is False

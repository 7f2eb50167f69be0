"""Masks: lengths to booleans, and the refusals of masks that users pass."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import pad, random_clips
from modeling_audio_branch.masks import checked_mask, is_tracing, length_mask, mask_lengths

CPU = torch.device("cpu")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 9))
def test_a_length_mask_is_true_on_as_many_first_positions_as_the_clip_has(lengths, size):
    mask = length_mask(torch.tensor(lengths), size)
    assert mask.tolist() == [[position < length for position in range(size)] for length in lengths]


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4))
def test_the_lengths_of_a_mask_are_read_unless_a_1_follows_a_0(rows):
    mask = torch.tensor(rows)
    if all(row == sorted(row, reverse=True) for row in rows):
        assert mask_lengths(mask) == [sum(row) for row in rows]
    else:
        with pytest.raises(ValueError, match="attention_mask has a 1 after a 0; pad on the right"):
            mask_lengths(mask)


def test_a_mask_of_another_shape_or_with_padding_on_the_left_is_refused():
    _, mask = pad(random_clips([3, 5]))
    checked, lengths = checked_mask(mask, (2, 5), CPU)
    assert torch.equal(checked, mask.bool()) and lengths == [3, 5]
    checked, lengths = checked_mask(None, (2, 5), CPU)
    assert checked.all() and checked.shape == (2, 5) and lengths == [5, 5]
    with pytest.raises(ValueError, match=r"attention_mask has the shape \(2, 5\); give \(2, 6\)"):
        checked_mask(mask, (2, 6), CPU)
    with pytest.raises(ValueError, match="attention_mask has a 1 after a 0; pad on the right"):
        checked_mask(mask.flip(1), (2, 5), CPU)


def test_lengths_take_the_place_of_a_mask_and_must_agree_with_it():
    _, mask = pad(random_clips([3, 5]))
    for lengths in ([3, 5], (3, 5), torch.tensor([3, 5]), np.array([3, 5]), [np.int64(3), 5]):
        for given_mask in (mask, None):
            checked, found = checked_mask(given_mask, (2, 5), CPU, lengths)
            assert torch.equal(checked, mask.bool()) and found == [3, 5]
    wrong_types = [5, torch.tensor(5), {3: 0, 5: 1}, [True, True], torch.tensor([True, True])]
    for wrong in ([3], [3, 6], [-1, 5], [3.0, 5], *wrong_types):
        with pytest.raises(ValueError, match="give 2 whole numbers from 0 to 5"):
            checked_mask(None, (2, 5), CPU, wrong)
    with pytest.raises(ValueError, match=r"lengths=\[3, 4\] differ from the attention_mask's \[3, 5\]"):
        checked_mask(mask, (2, 5), CPU, [3, 4])


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

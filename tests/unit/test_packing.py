"""Packing loses no frame and mixes no clips, with gaps that stay and with gaps for the convolution alone."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.packing import Packed, Padded

lengths = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any)
worths = st.sampled_from([0, 1, 3, 10, 1000])
CPU = torch.device("cpu")


def padded_frames(lengths):
    """Frames (B, T, 2) that are all different, zero where masked, and their mask."""
    mask = length_mask(torch.tensor(lengths), max(lengths))
    frames = torch.arange(1.0, 2 * mask.numel() + 1).view(*mask.shape, 2)
    return frames * mask.unsqueeze(-1), mask


def packing_of(lengths, worth, conv_gap=3, strided_gap=2, factor=1):
    """A packing, and the packed frames of `padded_frames`, one in `factor`."""
    frames, mask = padded_frames(lengths)
    fewer = [-(-length // factor) for length in lengths]
    packing = Packed(fewer, -(-max(lengths) // factor), conv_gap, strided_gap, CPU, worth)
    row, row_mask = packing.pack(frames, mask, lengths, factor)
    return packing, packing.close_gaps(row[:, ::factor], strided_gap), row, row_mask


@given(lengths, worths)
@example([4, 0, 4], 0)
@example([5], 3)
def test_pad_puts_every_packed_frame_back(lengths, worth):
    packing, packed, *_ = packing_of(lengths, worth)
    frames, mask = padded_frames(lengths)
    assert torch.equal(packing.clip_mask, mask)
    packed = packed if packing.frame_mask is None else packed.where(packing.frame_mask.unsqueeze(-1), torch.nan)
    assert torch.equal(packing.pad(packed), frames)


@given(lengths)
def test_a_cpu_computes_no_frame_too_many(lengths):
    packing, packed, *_ = packing_of(lengths, worth=0)
    assert packed.shape[0] * packed.shape[1] == sum(lengths) and packing.frame_mask is None
    assert sum(group.count * group.length for group in packing.groups) == sum(lengths)


@given(lengths, worths)
def test_split_gives_the_clips_of_each_group_and_join_undoes_it(lengths, worth):
    packing, packed, *_ = packing_of(lengths, worth)
    parts, clips = packing.split(packing.to_groups(packed)), iter(packing.clips)
    frames, _ = padded_frames(lengths)
    for group, part in zip(packing.groups, parts, strict=True):
        assert part.shape[:2] == (group.count, group.length)
        key_mask = torch.ones(part.shape[:2], dtype=torch.bool) if group.key_mask is None else group.key_mask
        for row, mask in zip(part, key_mask, strict=True):
            assert torch.equal(row[mask], frames[clip := next(clips), : lengths[clip]])
    assert next(clips, None) is None
    positions = packing.positions.expand(len(parts[0]) if packing.is_batch else 1, -1)
    for group, part in zip(packing.groups, packing.split(positions), strict=True):
        assert torch.equal(part, torch.arange(group.length).expand(group.count, -1))
    joined = packing.join(parts)
    inside = slice(None) if packing.frame_mask is None else packing.frame_mask[0]
    assert torch.equal(joined[:, inside], packed[:, inside]) and joined.isfinite().all()


@given(lengths, st.integers(1, 500))
def test_a_group_has_no_more_padding_than_it_is_worth(lengths, worth):
    packing = packing_of(lengths, worth)[0]
    given_lengths = iter(packing.lengths)
    for group in packing.groups:
        clips = [next(given_lengths) for _ in range(group.count)]
        assert sum(max(clips) - length for length in clips) <= max(worth, sum(lengths) // 16)
        assert group.length - max(clips) < 8


@given(lengths, st.integers(0, 4), st.integers(0, 4), worths)
def test_a_convolution_sees_each_clip_alone(lengths, before, after, worth):
    packing, packed, *_ = packing_of(lengths, worth, conv_gap=max(before, after))
    kernel = torch.randn(2, 1, before + 1 + after, generator=torch.Generator().manual_seed(0))

    def convolve(states):  # (B, T, 2)
        return F.conv1d(F.pad(states, (0, 0, before, after)).transpose(1, 2), kernel, groups=2).transpose(1, 2)

    got = packing.pad(packing.close_gaps(convolve(packing.open_gaps(packed))))
    frames, _ = padded_frames(lengths)
    for clip, length in enumerate(lengths):
        if length:
            alone = convolve(frames[clip : clip + 1, :length])
            torch.testing.assert_close(got[clip, :length], alone[0], atol=1e-4, rtol=1e-6)


@given(lengths, st.sampled_from([1, 2, 4, 8]), worths)
def test_clips_in_one_row_begin_at_a_multiple_and_are_followed_by_zeros(lengths, factor, worth):
    packing, _, row, row_mask = packing_of(lengths, worth, factor=factor)
    frames, _ = padded_frames(lengths)
    if packing.is_batch:
        for clip, states in zip(packing.clips, row, strict=True):
            assert torch.equal(states[: lengths[clip]], frames[clip, : lengths[clip]])
        return
    gap, start = packing.strided_gap, 0
    for clip in packing.clips:
        end = start + lengths[clip]
        assert row_mask[0, start:end].all() and torch.equal(row[0, start:end], frames[clip, : lengths[clip]])
        start = -(-end // factor) * factor + gap * factor
        assert not row_mask[0, end:start].any()
    assert start == row.shape[1]


def test_equal_clips_stay_a_batch_and_clips_without_a_frame_are_left_out():
    packing, packed, _, mask = packing_of([5, 0, 5], worth=0)
    assert packing.is_batch and packed.shape == (2, 5, 2) and mask is None and packing.clips == [0, 2]


@pytest.mark.parametrize("worth", [0, 100])
def test_a_few_numbers_are_all_that_goes_to_the_device(worth, monkeypatch):
    sent = []
    monkeypatch.setattr(
        "modeling_audio_branch.packing.to_device", lambda numbers, device: sent.append(numbers) or torch.tensor(numbers)
    )
    Packed([7, 3, 5], 7, 4, 2, CPU, worth)
    Packed([5, 5], 7, 4, 2, CPU, worth)  # nothing
    assert len(sent) == 1 + (worth > 0) and sum(len(torch.tensor(each).flatten()) for each in sent) <= 20


def test_a_padded_batch_is_one_group():
    frames, mask = padded_frames([3, 5])
    layout = Padded(mask)
    assert torch.equal(layout.join(layout.split(layout.to_groups(frames))), frames)
    assert torch.equal(layout.open_gaps(frames + 1), (frames + 1) * mask.unsqueeze(-1))

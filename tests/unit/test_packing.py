"""Packing loses no frame and mixes no clips."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.packing import Packing, pack_with_gaps

lengths = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any)


def padded_frames(lengths):
    """Frames (B, T, 2) that are all different, zero where masked, and their mask."""
    mask = length_mask(torch.tensor(lengths), max(lengths))
    frames = torch.arange(1.0, 2 * mask.numel() + 1).view(*mask.shape, 2)
    return frames * mask.unsqueeze(-1), mask


def pack(frames, packing):
    clips = [frames[clip, :length] for clip, length in zip(packing.clips, packing.lengths, strict=True)]
    return torch.cat(clips).unsqueeze(0)


@given(lengths)
def test_pad_puts_every_packed_frame_back(lengths):
    frames, mask = padded_frames(lengths)
    packing = Packing(mask)
    packed = pack(frames, packing)
    assert packed.shape[1] == sum(lengths)
    assert torch.equal(packing.pad(packed), frames)


@given(lengths)
def test_split_gives_clips_of_equal_length_together_and_join_undoes_it(lengths):
    frames, mask = padded_frames(lengths)
    packing = Packing(mask)
    parts = packing.split(pack(frames, packing))
    assert [part.shape[:2] for part in parts] == [
        (lengths.count(length), length) for length in sorted(set(lengths) - {0})
    ]
    assert torch.equal(packing.join(parts), pack(frames, packing))


@given(lengths, st.integers(0, 4), st.integers(0, 4))
def test_a_convolution_over_gaps_sees_each_clip_alone(lengths, before, after):
    frames, mask = padded_frames(lengths)
    packing = Packing(mask)
    kernel = torch.randn(2, 1, before + 1 + after, generator=torch.Generator().manual_seed(0))

    def convolve(row):  # (1, R, 2)
        return torch.nn.functional.conv1d(row.transpose(1, 2), kernel, groups=2).transpose(1, 2)

    packed = pack(frames, packing)
    row = convolve(packing.scatter_with_gaps(packed, before, after))
    got = packing.pad(packing.gather(row, before, after))
    for clip, length in enumerate(lengths):
        if length:
            alone = torch.nn.functional.pad(frames[clip : clip + 1, :length], (0, 0, before, after))
            torch.testing.assert_close(got[clip, :length], convolve(alone)[0], atol=1e-4, rtol=1e-6)


@given(lengths, st.sampled_from([1, 2, 4, 8]))
def test_clips_in_one_row_begin_at_a_multiple_and_are_followed_by_zeros(lengths, multiple):
    frames, mask = padded_frames(lengths)
    clips = [clip for clip, length in enumerate(lengths) if length]
    row, row_mask = pack_with_gaps(frames, mask, clips, multiple)
    assert torch.equal(row[row_mask], torch.cat([frames[clip, : lengths[clip]] for clip in clips]))
    assert not row[~row_mask].any()
    start = 0
    for clip in clips:
        assert start % multiple == 0 and row_mask[0, start : start + lengths[clip]].all()
        end = start + lengths[clip]
        start = -(-end // multiple) * multiple + 2 * multiple
        assert not row_mask[0, end:start].any()
    assert start == row.shape[1]

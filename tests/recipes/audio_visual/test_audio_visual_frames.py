"""recipes/audio_visual/model/segment_frames.py: which frames a segment has, and which of them are looked at."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_audio_branch.outputs import times_of_segments
from recipes.audio_visual.model.segment_frames import frames_of_segments, sampled_frames, thin_frames, times_of_frames

RATES = st.sampled_from([5.0, 12.5, 24.0, 25.0, 29.97, 30.0, 59.94, 120.0])


def frame_times(count, rate):
    borders = torch.arange(count + 1, dtype=torch.float64) / rate
    return torch.stack([borders[:-1], borders[1:]], -1)


def segments(seconds, count=8):
    seconds = torch.tensor(seconds, dtype=torch.float64)
    return times_of_segments(torch.zeros_like(seconds), seconds, count)


def test_the_sampled_frames_are_the_middles_of_equal_parts():
    def sampled(first, stop, count):
        return sampled_frames(torch.tensor([[first]]), torch.tensor([[stop]]), count).flatten().tolist()

    assert sampled(0, 8, 4) == [1, 3, 5, 7] and sampled(10, 16, 2) == [11, 14]
    assert sampled(0, 5, 1) == [2] and sampled(3, 4, 3) == [3, 3, 3] and sampled(0, 2, 4) == [0, 0, 1, 1]


@given(count=st.integers(1, 400), rate=RATES, seconds=st.floats(0.02, 20.0), samples=st.integers(1, 6))
def test_every_segment_has_frames_that_start_and_end_within_half_a_frame_of_it(count, rate, seconds, samples):
    times, borders = frame_times(count, rate), segments(seconds)
    first, stop = frames_of_segments(times[None], torch.ones(1, count, dtype=torch.bool), borders[None])
    assert ((0 <= first) & (first < stop) & (stop <= count)).all()
    indices = sampled_frames(first, stop, samples)
    assert ((indices >= first.unsqueeze(-1)) & (indices < stop.unsqueeze(-1))).all()
    assert (indices.diff(dim=-1) >= 0).all()
    seen, middles = times_of_frames(times[None], first, stop)[0], times.mean(-1)
    for segment, (start, end) in enumerate(borders.tolist()):
        inside = [number for number, each in enumerate(middles.tolist()) if start - 1e-4 <= each < end - 1e-4]
        if inside:
            assert [first[0, segment], stop[0, segment]] == [inside[0], inside[-1] + 1]
            if end <= count / rate:
                assert abs(seen[segment, 0] - start) <= 0.5 / rate + 1e-3
                assert abs(seen[segment, 1] - end) <= 0.5 / rate + 1e-3
        else:
            distances = (middles - (start + end) / 2).abs()
            assert stop[0, segment] == first[0, segment] + 1 and distances[first[0, segment]] == distances.min()


@given(count=st.integers(1, 300), rate=RATES, seconds=st.floats(0.02, 12.0), samples=st.integers(1, 6))
def test_sampling_a_thinned_video_finds_the_same_frames_and_times(count, rate, seconds, samples):
    times, borders = frame_times(count, rate), segments(seconds)
    kept, thin = thin_frames(times, borders, samples)
    assert (kept.diff() > 0).all() and (thin[:, 0] < thin[:, 1]).all()
    found = []
    for each, valid in ((times, count), (thin.float(), len(kept))):  # the model has float32
        bounds = frames_of_segments(each[None], torch.ones(1, valid, dtype=torch.bool), borders[None].to(each.dtype))
        found.append((sampled_frames(*bounds, samples)[0], times_of_frames(each[None], *bounds)[0]))
    assert torch.equal(found[0][0], kept[found[1][0]])
    torch.testing.assert_close(found[0][1], found[1][1].double(), atol=1e-5, rtol=1e-6)


def test_frames_behind_the_mask_belong_to_no_segment():
    times = torch.cat([frame_times(10, 25.0), torch.full((5, 2), 0.1)])[None]
    mask = (torch.arange(15) < 10)[None]
    whole = frames_of_segments(frame_times(10, 25.0)[None], mask[:, :10], segments(0.4)[None])
    masked = frames_of_segments(times, mask, segments(0.4)[None])
    assert all(torch.equal(*pair) for pair in zip(whole, masked, strict=True))


def test_thinning_keeps_the_sampled_frames_of_a_long_video_only():
    kept, thin = thin_frames(frame_times(250, 25.0), segments(10.0), 4)
    assert len(kept) == 32 and thin[0, 0] == 0 and abs(thin[-1, 1] - 10.0) < 1e-9
    torch.testing.assert_close(thin[1:, 0], thin[:-1, 1])
    kept, _ = thin_frames(frame_times(200, 25.0), segments(10.0), 4)  # the video ends 2 s before the audio
    assert len(kept) == 6 * 4 + 13 and kept[-1] == 199

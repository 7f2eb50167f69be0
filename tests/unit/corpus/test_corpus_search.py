"""Hits in the frames of several recordings."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_audio_branch.corpus.search import FrameMatrix, Hit
from modeling_audio_branch.corpus.settings import SearchSettings
from modeling_audio_branch.corpus.store import Recording


def recordings_of(lengths, seed=0):
    """Recordings of these numbers of frames of 0.1 s, and their frames."""
    generator = torch.Generator().manual_seed(seed)
    recordings = [Recording(f"/{i}.wav", "", 0, 0, length / 10 - 0.05, length) for i, length in enumerate(lengths)]
    frames = [torch.randint(-127, 128, (length, 8), generator=generator).to(torch.int8) for length in lengths]
    return recordings, frames


def part(frames, start, stop):
    return F.normalize(frames[start:stop].float(), dim=-1)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.data())
def test_a_part_of_a_recording_is_found_where_it_is(lengths, data):
    recordings, frames = recordings_of(lengths)
    which = data.draw(st.integers(0, len(lengths) - 1))
    start = data.draw(st.integers(0, lengths[which] - 1))
    stop = data.draw(st.integers(start + 1, min(lengths[which], start + 12)))
    hits = FrameMatrix(recordings, frames, 0.1).find(part(frames[which], start, stop), 3, SearchSettings(1))
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    if stop - start > 2:  # fewer frames may be alike elsewhere
        assert hits[0].file == f"/{which}.wav"
        assert hits[0].start == pytest.approx(start / 10)
        assert hits[0].end == pytest.approx(min(stop / 10, recordings[which].seconds))


def test_hits_are_sorted_do_not_overlap_and_do_not_depend_on_other_recordings():
    recordings, frames = recordings_of([300, 200, 5])
    phrase = part(frames[1], 50, 60)
    hits = FrameMatrix(recordings, frames, 0.1).find(phrase, 100, SearchSettings(1))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for i, first in enumerate(hits):
        for second in hits[:i]:
            shared = min(first.end, second.end) - max(first.start, second.start)
            shorter = min(first.end - first.start, second.end - second.start)
            assert first.file != second.file or shared <= 0.3 * shorter + 1e-6
    alone = FrameMatrix(recordings[1:2], frames[1:2], 0.1).find(phrase, 100, SearchSettings(1))
    assert alone[:5] == [hit for hit in hits if hit.file == "/1.wav"][:5]


def test_nothing_is_found_in_nothing_and_a_hit_is_a_dict():
    assert FrameMatrix([], [], 0.1).find(torch.ones(3, 1), 5, SearchSettings(1)) == []
    hit = Hit("/a.wav", 1.0, 2.0, 0.5)
    assert hit.to_dict() == {"file": "/a.wav", "start": 1.0, "end": 2.0, "score": 0.5, "probability": None}

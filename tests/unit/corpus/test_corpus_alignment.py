"""Alignments of a phrase: those of a slow and plain dynamic programme, in chunks of any size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_audio_branch.corpus import alignment
from modeling_audio_branch.corpus.alignment import GAP, GAP_COST, LARGEST_COST, alignment_costs, best_ends, paths_to


def random_frames(lengths, seed):
    """A phrase (n, 6), and frames (T, 6) int8 of recordings with gaps between them, with their scale (T,)."""
    generator = torch.Generator().manual_seed(seed)
    phrase = F.normalize(torch.randn(lengths[0], 6, generator=generator), dim=-1)
    parts = []
    for length in lengths[1:]:
        parts += [torch.randint(-127, 128, (length, 6), generator=generator), torch.zeros(GAP, 6).long()]
    frames = torch.cat(parts).to(torch.int8)
    norm = frames.float().norm(dim=-1)
    return phrase, frames, torch.where(norm > 0, 1 / norm.clamp(min=1e-6), 0.0)


def plain_alignment(phrase, frames, scale):
    """Costs (T,) and starts of the best alignments, step by step."""
    cost = 1 - (phrase @ frames.float().T) * scale
    cost[:, scale == 0] = GAP_COST
    total, path = cost[0].tolist(), [[each] for each in range(len(frames))]
    for row in cost[1:]:
        before, paths = total, path
        total, path = [], []
        for j, each in enumerate(row.tolist()):
            best = min(range(max(0, j - 2), j + 1), key=lambda k: (before[k], -k))
            total.append(before[best] + each)
            path.append([*paths[best], j])
    return torch.tensor(total) / len(phrase), path


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(0, 99), st.sampled_from([1, 7, 16, 2**14]))
@settings(max_examples=50)
def test_costs_and_paths_are_those_of_a_plain_dynamic_programme(lengths, seed, chunk):
    phrase, frames, scale = random_frames(lengths, seed)
    expected, paths = plain_alignment(phrase, frames, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "CHUNK_FRAMES", chunk)
        costs = alignment_costs(phrase, frames, scale)
    inside = expected < LARGEST_COST
    assert torch.equal(costs < LARGEST_COST, inside)
    torch.testing.assert_close(costs[inside], expected[inside], atol=1e-4, rtol=0)
    ends = inside.nonzero().flatten()
    found = paths_to(phrase, frames, scale, ends)
    cost = 1 - (phrase @ frames.float().T) * scale
    for end, path in zip(ends.tolist(), found.tolist(), strict=True):
        assert path[-1] == end and all(0 <= b - a <= 2 for a, b in zip(path, path[1:], strict=False))
        along = torch.stack([cost[row, column] for row, column in enumerate(path)]).mean()
        torch.testing.assert_close(along, expected[end], atol=1e-4, rtol=0)


@given(st.lists(st.integers(1, 20), min_size=3, max_size=6), st.integers(0, 99))
def test_no_alignment_leads_from_one_recording_into_another(lengths, seed):
    phrase, frames, scale = random_frames(lengths, seed)
    costs = alignment_costs(phrase, frames, scale)
    ends = best_ends(costs, 50, 1)
    recording = (scale == 0).cumsum(0)
    for path in paths_to(phrase, frames, scale, ends):
        assert len(set(recording[path].tolist())) == 1 and (scale[path] > 0).all()


@pytest.mark.parametrize("every", [torch.arange(0, 12, 2), torch.arange(12), torch.arange(12).repeat_interleave(2)])
def test_a_phrase_is_found_where_it_is_said_twice_as_fast_or_as_slowly(every):
    phrase, frames, _ = random_frames([12, 200], seed=3)
    frames[50 : 50 + len(every)] = (phrase[every] * 127).round().to(torch.int8)
    scale = 1 / frames.float().norm(dim=-1).clamp(min=1e-6)
    scale[-GAP:] = 0
    costs = alignment_costs(phrase, frames, scale)
    end = best_ends(costs, 1, 5)
    assert abs(int(end) - (49 + len(every))) <= 1
    if len(every) >= 12:  # else every second frame is missing
        assert paths_to(phrase, frames, scale, end)[0, 0] in (50, 51)
        assert costs[end] < 0.01


def test_ends_are_the_lowest_of_their_surroundings_the_best_first():
    costs = torch.tensor([0.5, 0.2, 0.4, 0.3, 0.1, 0.6, GAP_COST, 0.7])
    assert best_ends(costs, 5, 1).tolist() == [4, 1, 7]
    assert best_ends(costs, 1, 1).tolist() == [4]
    assert best_ends(torch.full((4,), GAP_COST), 5, 1).tolist() == []

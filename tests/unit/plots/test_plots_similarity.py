"""Matrices of cosine similarities between the segments of clips."""

import pytest
import torch
from torch.nn import functional as F

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.plots import plot_segment_similarity, segment_alignment, segment_similarity

RATE = 16000


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config())


def test_rows_are_the_segments_of_the_clip_and_columns_those_of_the_others(model):
    first, second, third = random_clips([RATE, 12345, 8000])
    similarity = segment_similarity(model, first, [second, third], RATE)
    assert similarity.shape == (2, 4, 4)
    a, b = (model.encode(clip, RATE).segment_features for clip in (first, third))
    expected = F.cosine_similarity(a[2], b[1], dim=0)
    torch.testing.assert_close(similarity[1, 2, 1], expected, atol=1e-5, rtol=0)


def test_a_clip_is_the_same_as_itself(model):
    clip = random_clips([RATE])[0]
    diagonal = segment_similarity(model, clip, [clip], RATE)[0].diagonal()
    torch.testing.assert_close(diagonal, torch.ones(4), atol=1e-5, rtol=0)


def test_each_pair_has_a_matrix_with_its_numbers_and_both_waveforms(model):
    clips = random_clips([RATE, 12345, 8000])
    figure = plot_segment_similarity(model, clips[0], clips[1:], RATE, names=["one", "two", "three"])
    similarity = segment_similarity(model, clips[0], clips[1:], RATE)
    assert len(figure.axes) == 8
    matrices = [axes for axes in figure.axes if axes.images]
    for axes, matrix in zip(matrices, similarity, strict=True):
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in matrix.flatten().tolist()]
        assert sum(text.get_weight() == "bold" for text in axes.texts) == 4
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    means = [f"{matrix.diagonal().mean():.2f} along the diagonal" for matrix in similarity]
    assert titles == [f"two: {means[0]}", f"three: {means[1]}"]
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["one", "one"]


def test_the_alignment_follows_the_similar_segments():
    matrix = torch.eye(5)
    assert segment_alignment(matrix).tolist() == [[n, n] for n in range(5)]
    matrix[2, 2] = -1.0
    matrix[2, 1] = matrix[3, 2] = 1.0  # the third segment of the first clip is the second of the other, and so on
    matrix[3, 3] = 0.0
    path = segment_alignment(matrix).tolist()
    assert path[0] == [0, 0] and path[-1] == [4, 4] and [2, 1] in path and [3, 2] in path and [2, 2] not in path
    steps = torch.tensor(path).diff(dim=0)
    assert steps.min() >= 0 and steps.max() == 1 and (steps.sum(1) > 0).all()


def test_the_alignment_is_the_cheapest_of_all():
    matrix = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))

    def price(path):
        steps = [(1, *path[0])] + [(b[0] - a[0] + b[1] - a[1], *b) for a, b in zip(path, path[1:], strict=False)]
        return sum(weight * (1 - matrix[row, column].item()) for weight, row, column in steps)

    def ways(path):
        row, column = path[-1]
        if (row, column) == (3, 3):
            yield path
            return
        for step in ((1, 1), (1, 0), (0, 1)):
            if row + step[0] < 4 and column + step[1] < 4:
                yield from ways([*path, (row + step[0], column + step[1])])

    best = min(price(path) for path in ways([(0, 0)]))
    assert abs(price([tuple(place) for place in segment_alignment(matrix).tolist()]) - best) < 1e-6

"""A classifier's probabilities over time."""

import torch

from modeling_audio_branch.plots import plot_probabilities
from modeling_audio_branch.plots.probabilities import MAX_LABELS


def test_each_label_is_a_line_with_a_step_at_each_border():
    times = torch.tensor([[0.0, 0.5], [0.5, 1.0]])
    figure = plot_probabilities(times, torch.tensor([[0.2, 0.8], [0.7, 0.3]]), ["calm", "angry"])
    (axes,) = figure.axes
    values = {patch.get_label(): patch.get_data().values.tolist() for patch in axes.patches}
    torch.testing.assert_close(torch.tensor(values["calm"]), torch.tensor([0.2, 0.7]))
    assert list(axes.patches[0].get_data().edges) == [0.0, 0.5, 1.0] and axes.get_xlim() == (0.0, 1.0)


def test_of_many_labels_the_most_probable_are_drawn():
    probabilities = torch.full((3, 20), 0.01)
    probabilities[1, 13] = 0.9
    figure = plot_probabilities(torch.tensor([[0.0, 1], [1, 2], [2, 3]]), probabilities, [str(n) for n in range(20)])
    labels = [patch.get_label() for patch in figure.axes[0].patches]
    assert len(labels) == MAX_LABELS and "13" in labels

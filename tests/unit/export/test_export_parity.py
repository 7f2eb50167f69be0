"""The check of exported models notices wrong numbers, shapes, NaN and failures."""

import numpy as np
import pytest

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export.errors import ExportError
from modeling_audio_branch.export.exportable import Exportable
from modeling_audio_branch.export.parity import largest_difference, reference


@pytest.fixture(scope="module")
def pair():
    model = make_model(AudioBranchModel, tiny_config())
    return Exportable(model), model


def run_with(pair, change):
    import torch

    def run(inputs, mask):
        values = reference(*pair, torch.from_numpy(inputs), torch.from_numpy(mask))
        return change(values)

    return largest_difference(*pair, run, [[0.5, 0.3]])


def test_the_same_numbers_differ_by_nothing(pair):
    assert run_with(pair, lambda values: values) == 0


@pytest.mark.parametrize("output", range(4))
def test_a_change_of_any_output_is_noticed(pair, output):
    def change(values):
        values[output] = values[output] + 0.5
        return values

    assert run_with(pair, change) > 0.1


def test_nan_is_noticed(pair):
    assert run_with(pair, lambda values: [np.full_like(values[0], np.nan), *values[1:]]) == float("inf")


def test_another_shape_and_a_failure_are_sentences(pair):
    with pytest.raises(ExportError, match="has the shape"):
        run_with(pair, lambda values: [values[0][:1], *values[1:]])
    with pytest.raises(ExportError, match="fails on 2 clips of up to 0.5 s"):
        largest_difference(*pair, lambda inputs, mask: 1 / 0, [[0.5, 0.3]])

"""The optimizer of the training."""

import copy

import torch
from torch import nn

from recipes.phrases.muon import MATRIX_RATE, MuonAndAdamW


def a_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 3, 3, padding=1), nn.Linear(8, 8), nn.LayerNorm(8))


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(torch.ones(2, 3, 8)) - torch.arange(8.0)).square().mean().backward()
        optimizer.step()


def test_every_trained_parameter_is_in_one_group_and_frozen_ones_in_none():
    model = a_model()
    model[0].bias.requires_grad_(False)
    optimizer = MuonAndAdamW(model, 1e-2, 0.1)
    held = [id(each) for group in optimizer.param_groups for each in group["params"]]
    assert sorted(held) == sorted(id(each) for each in model.parameters() if each.requires_grad)
    assert [group["lr"] for group in optimizer.param_groups] == [MATRIX_RATE * 1e-2, 1e-2, 1e-2]
    decay = {id(each): group["weight_decay"] for group in optimizer.param_groups for each in group["params"]}
    assert decay[id(model[1].weight)] == decay[id(model[0].weight)] == 0.1
    assert decay[id(model[1].bias)] == decay[id(model[2].weight)] == 0.0


def test_a_step_of_a_matrix_is_orthogonal():
    model = a_model()
    before = model[1].weight.detach().clone()
    train(model, MuonAndAdamW(model, 1e-2, 0.0), 1)
    values = torch.linalg.svdvals(before - model[1].weight.detach())
    length = 0.2 * 8**0.5 * MATRIX_RATE * 1e-2  # of AdamW's steps of a matrix of 8 rows
    assert values.max() < 1.5 * length and values[0] > 0.5 * length


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been():
    model = a_model()
    optimizer = MuonAndAdamW(model, 1e-2, 0.1)
    train(model, optimizer, 3)
    other = copy.deepcopy(model)
    resumed = MuonAndAdamW(other, 5.0, 5.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in (optimizer, resumed):
        for group in each.param_groups:  # as a schedule does
            group["lr"] /= 2
    train(model, optimizer, 3)
    train(other, resumed, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name

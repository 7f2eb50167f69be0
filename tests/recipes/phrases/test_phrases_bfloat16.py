"""Linear layers in bfloat16 on a CPU."""

import pytest
import torch
from torch import nn

from recipes.phrases import bfloat16


@pytest.mark.parametrize("is_faster", [False, True])
def test_only_the_products_of_linear_layers_are_rounded_and_their_weights_learn_in_float32(monkeypatch, is_faster):
    monkeypatch.setattr(bfloat16, "is_faster", lambda: is_faster)
    torch.manual_seed(0)
    model, states = nn.Sequential(nn.Linear(32, 32), nn.Conv1d(100, 4, 1)), torch.randn(100, 32)
    exact = model[0](states)
    names = [*model.state_dict()]
    bfloat16.use_bfloat16(model)
    found = model[0](states)
    assert found.dtype == torch.float32 and torch.equal(found, exact) != is_faster
    torch.testing.assert_close(found, exact, atol=0.03, rtol=0)
    assert torch.equal(model[0](states[:10]), exact[:10])  # too few to be worth it
    found.sum().backward()
    assert model[0].weight.grad.dtype == torch.float32 and [*model.state_dict()] == names


def test_a_cpu_without_the_instructions_is_not_measured(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    monkeypatch.delattr(bfloat16.time, "perf_counter")
    bfloat16.is_faster.cache_clear()
    assert not bfloat16.is_faster()
    bfloat16.is_faster.cache_clear()

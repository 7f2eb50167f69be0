"""Linear layers in bfloat16 on a CPU."""

import pytest
import torch
from torch import nn

from recipes.phrases.bfloat16 import use_bfloat16


@pytest.mark.parametrize("is_supported", [False, True])
def test_only_the_products_of_linear_layers_are_rounded_and_their_weights_learn_in_float32(monkeypatch, is_supported):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": is_supported})
    torch.manual_seed(0)
    model, states = nn.Sequential(nn.Linear(32, 32), nn.Conv1d(100, 4, 1)), torch.randn(100, 32)
    exact = model[0](states)
    names = [*model.state_dict()]
    use_bfloat16(model)
    found = model[0](states)
    assert found.dtype == torch.float32 and torch.equal(found, exact) != is_supported
    torch.testing.assert_close(found, exact, atol=0.03, rtol=0)
    assert torch.equal(model[0](states[:10]), exact[:10])  # too few to be worth it
    found.sum().backward()
    assert model[0].weight.grad.dtype == torch.float32 and [*model.state_dict()] == names

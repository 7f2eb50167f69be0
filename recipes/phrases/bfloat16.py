"""Linear layers in bfloat16 on a CPU, where autocast would also slow down depthwise convolutions and attention."""

import functools

import torch
from torch import nn
from torch.nn import functional as F

MIN_ROWS = 64  # of a product; fewer are not worth the conversion


def linear_in_bfloat16(layer: nn.Linear, hidden_states: torch.Tensor) -> torch.Tensor:
    """The layer's output in float32, from a product of bfloat16 numbers that is summed in float32."""
    if hidden_states.numel() < MIN_ROWS * layer.in_features:
        return F.linear(hidden_states, layer.weight, layer.bias)
    bias = None if layer.bias is None else layer.bias.bfloat16()
    return F.linear(hidden_states.bfloat16(), layer.weight.bfloat16(), bias).float()


def use_bfloat16(model: nn.Module) -> None:
    """Lets a model's linear layers compute in bfloat16, if this CPU has instructions for it; weights stay float32."""
    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        return
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.forward = functools.partial(linear_in_bfloat16, layer)

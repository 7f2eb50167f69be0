"""Linear layers in bfloat16 on a CPU, where autocast would also slow down depthwise convolutions and attention."""

import functools
import time

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


@functools.cache
def is_faster() -> bool:
    """Whether this CPU multiplies matrices faster in bfloat16, measured for some 0.1 s on one core.

    With the same instructions (AVX512_BF16), a CPU of AMD took less time than in float32, one of Intel twice as long.
    """
    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        return False
    threads, fastest = torch.get_num_threads(), {}
    torch.set_num_threads(1)  # several would wait for each other where a core is busy with something else
    for dtype in (torch.float32, torch.bfloat16):
        first, second, seconds = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype), []
        for _ in range(20):
            start = time.perf_counter()
            first @ second
            seconds.append(time.perf_counter() - start)
        fastest[dtype] = min(seconds)
    torch.set_num_threads(threads)
    return fastest[torch.bfloat16] < fastest[torch.float32]


def use_bfloat16(model: nn.Module) -> None:
    """Lets a model's linear layers compute in bfloat16, if this CPU is faster with it; weights stay float32."""
    if not is_faster():
        return
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.forward = functools.partial(linear_in_bfloat16, layer)

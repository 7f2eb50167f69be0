"""Two layers of torch with an addition: a linear layer with a prepacked weight, a batch norm that ignores padding.

B batch, T frames, D features of a frame.
"""

import torch
from torch import nn

from .masks import is_tracing


class Linear(nn.Linear):
    """`torch.nn.Linear`; after `prepack()` it is faster without gradients, on a CPU, in float32.

    oneDNN sorts the weight of every matrix product into blocks, which takes as long as the product of a few frames.
    With a sorted copy of the weight, 38 frames (3 s) are 1.7 times as fast and 1200 are 1.1 times as fast (2 cores,
    AVX-512). The copy is ignored after any change of the weight (training, loading, a cast, another device), until
    `prepack()` is called again. Only a write to `weight.data` is not noticed.
    """

    packed = None

    def prepack(self) -> None:
        """Keeps a sorted copy of the weight, which takes as much memory again. Only on a CPU and in float32."""
        self.packed = None
        on_cpu = self.weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
        if on_cpu and self.weight.dtype == torch.float32:
            with torch.no_grad():
                self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)
            self.packed_from = self.weight, self.weight._version

    @property
    def is_prepacked(self) -> bool:
        """Whether there is a sorted copy of the present weight, and gradients are disabled."""
        if self.packed is None or torch.is_grad_enabled() or is_tracing():
            return False
        return self.packed_from[0] is self.weight and self.packed_from[1] == self.weight._version

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not self.is_prepacked or hidden_states.dtype != torch.float32:
            return super().forward(hidden_states)
        return torch.ops.mkldnn._linear_pointwise(hidden_states, self.packed, self.bias, "none", [], "")

    def _apply(self, fn, recurse=True):  # a cast or a move puts other data into the same parameter
        self.packed = None
        return super()._apply(fn, recurse)

    def __getstate__(self):  # for pickle and deepcopy, which can't copy oneDNN's blocks
        return {name: value for name, value in self.__dict__.items() if name not in ("packed", "packed_from")}


class MaskedBatchNorm(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over the valid frames of (B, T, D), with the same parameters, buffers and results.

    In training, a batch with fewer than two valid frames is normalised but does not change the running statistics.
    """

    def forward(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T, D) and (B, T), true where valid, to (B, T, D); without a mask all frames are valid."""
        if not self.training:
            return self._normalise(hidden_states, self.running_mean, self.running_var)
        if frame_mask is None:
            frame_mask = torch.ones_like(hidden_states[..., 0], dtype=torch.bool)
        valid = frame_mask.unsqueeze(-1)  # (B, T, 1)
        num_frames = valid.sum()
        at_least_float32 = torch.promote_types(hidden_states.dtype, torch.float32)  # float16 sums overflow
        states = hidden_states.to(at_least_float32).where(valid, 0.0)
        mean = states.sum((0, 1)) / num_frames.clamp(min=1)  # (D,)
        variance = (states - mean).where(valid, 0.0).square().sum((0, 1)) / num_frames.clamp(min=1)
        # Gradient checkpointing runs the forward pass a second time, inside the backward pass: count it once.
        if is_tracing() or torch._C._current_graph_task_id() == -1:
            self._update_running_statistics(mean.detach(), variance.detach(), num_frames)
        return self._normalise(hidden_states, mean, variance)

    def fold_into(self, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (D, ...) and bias (D,) of a convolution followed by this norm in eval mode, as one convolution."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        mean = self.running_mean if bias is None else self.running_mean - bias
        return weight * scale.view(-1, *[1] * (weight.ndim - 1)), self.bias - mean * scale

    @torch.no_grad()
    def _update_running_statistics(self, mean, variance, num_frames):
        momentum = self.momentum * (num_frames > 1)
        unbiased = variance * num_frames / (num_frames - 1).clamp(min=1)
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_var += momentum * (unbiased - self.running_var)
        self.num_batches_tracked += num_frames > 1

    def _normalise(self, hidden_states, mean, variance):
        scale = self.weight * (variance + self.eps).rsqrt()
        return ((hidden_states - mean) * scale + self.bias).to(hidden_states.dtype)

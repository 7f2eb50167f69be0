"""Batch normalisation whose training statistics never see padding."""

import torch
from torch import nn


class MaskedBatchNorm(nn.BatchNorm1d):
    """`BatchNorm1d` over the valid frames of (B, T, D); same parameters, buffers and results as torch's on those
    frames.

    In training a batch with fewer than two valid frames is normalised, but leaves the running statistics alone.
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
        # Gradient checkpointing runs the forward pass a second time, from within backward: count it once.
        if torch.compiler.is_compiling() or torch._C._current_graph_task_id() == -1:
            self._update_running_statistics(mean.detach(), variance.detach(), num_frames)
        return self._normalise(hidden_states, mean, variance)

    def fold_into(self, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (D, ...) and bias (D,) of a convolution that gives what this norm, in eval mode, makes of it."""
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

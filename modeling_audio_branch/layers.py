"""Layers of torch with an addition each: a prepacked linear layer, a batch norm that ignores padding, convolutions.

Every layer reads its own parameters in its own `forward` only, since that is where weights are when they are offloaded.
B batch, T frames, D features of a frame, C channels, M mel bins.
"""

import copyreg
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

from .masks import is_tracing

PROBES = 64  # elements of a weight that are compared to notice a change
_optimizer_steps = None  # of all optimizers; counted from the first prepacked weight on


class PrepackedLinear(nn.Linear):
    """`torch.nn.Linear` that is faster without gradients, on a CPU, in float32. Made of one by `prepack`.

    oneDNN sorts the weight of every matrix product into blocks, which takes as long as the product of a few frames.
    With a sorted copy of the weight, 38 frames (3 s) are 1.7 times as fast and 1200 are 1.1 times as fast (2 cores,
    AVX-512). The copy is ignored after a change of the weight, until `prepack` is called again. A change is noticed by
    the weight's version, its memory, the step of any optimizer, and 64 of its elements; only a write to `weight.data`
    that leaves all of those as they are is not noticed.
    """

    packed = None

    def _state(self):
        """What tells a change of the weight, except for its elements."""
        return self.weight._version, self.weight.data_ptr(), _optimizer_steps

    def _probes(self):
        flat = self.weight.detach().flatten()
        return flat[:: max(1, len(flat) // PROBES)]

    @property
    def is_prepacked(self) -> bool:
        """Whether there is a sorted copy of the present weight, and gradients are disabled."""
        if self.packed is None or torch.is_grad_enabled() or is_tracing():
            return False
        weight, state, probes = self.packed_from
        return weight is self.weight and state == self._state() and torch.equal(probes, self._probes())

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not self.is_prepacked or hidden_states.dtype != torch.float32:
            return super().forward(hidden_states)
        return torch.ops.mkldnn._linear_pointwise(hidden_states, self.packed, self.bias, "none", [], "")

    def _apply(self, fn, recurse=True):  # a cast or a move puts other data into the same parameter
        self.packed = None
        return super()._apply(fn, recurse)

    def __reduce_ex__(self, protocol):
        """Copies are plain linear layers, since oneDNN's blocks can't be copied."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("packed", "packed_from")}
        return copyreg.__newobj__, (nn.Linear,), state


def prepack(linear: nn.Linear) -> None:
    """Makes a plain linear layer a [`PrepackedLinear`], whose sorted copy takes as much memory again as the weight.

    Does nothing unless its weight is a plain float32 tensor on the CPU (not quantised, offloaded or distributed).
    """
    global _optimizer_steps
    if type(linear) not in (nn.Linear, PrepackedLinear) or not torch.backends.mkldnn.is_available():
        return
    weight = linear.weight
    if type(weight) is not nn.Parameter or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return
    if _optimizer_steps is None:
        _optimizer_steps = 0
        register_optimizer_step_post_hook(_count_step)  # fused optimizers leave the version of a weight as it is
    linear.__class__ = PrepackedLinear
    with torch.no_grad():
        linear.packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    linear.packed_from = weight, linear._state(), linear._probes().clone()


def _count_step(*_):
    global _optimizer_steps
    _optimizer_steps += 1


def prepacking_gain(in_features: int, out_features: int, num_frames: int = 38, seconds: float = 0.05) -> float:
    """How many times as fast a linear layer is with a prepacked weight here, measured on `num_frames` rows (3 s)."""
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay what they would be
        plain, packed = nn.Linear(in_features, out_features), nn.Linear(in_features, out_features)
        rows = torch.randn(1, num_frames, in_features)
    prepack(packed)
    times = {plain: [], packed: []}
    end = time.perf_counter() + seconds
    with torch.no_grad():
        while time.perf_counter() < end or len(times[packed]) < 5:
            for layer, measured in times.items():
                start = time.perf_counter()
                layer(rows)
                measured.append(time.perf_counter() - start)
    return statistics.median(times[plain]) / statistics.median(times[packed])


def avoids_tf32(states: torch.Tensor) -> bool:
    """Whether cuDNN would convolve these states in TF32, its default, which rounds to 10 bits (1e-3).

    Convolutions then go another way: as a product of matrices, exact unless the user allows TF32 there too; or, if they
    are depthwise, with channels first, for which PyTorch has a kernel of its own.
    """
    return states.device.type == "cuda" and states.dtype == torch.float32


class DepthwiseConv(nn.Conv1d):
    """Depthwise convolution over time, as an image of height 1 with channels last, which is the fastest on a CPU."""

    def forward(self, hidden_states: torch.Tensor, before: int, after: int) -> torch.Tensor:
        """(B, T, D) to the same shape; each frame sees `before` frames before it and `after` frames after it."""
        image = _as_image(hidden_states)
        weight = self.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        if before != after:
            image, before = F.pad(image, (before, after)), 0
        if avoids_tf32(image):
            image, weight = image.contiguous(), weight.contiguous()
        image = F.conv2d(image, weight, self.bias, padding=(0, before), groups=self.groups)
        return image.squeeze(2).transpose(1, 2)


class ChannelsLastConv(nn.Conv2d):
    """Two-dimensional convolution with channels last in memory; a linear layer if the kernel is one pixel."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, C, T, M) to (B, C', T', M')."""
        if self.kernel_size == (1, 1):
            return F.linear(hidden_states.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        if not avoids_tf32(hidden_states):
            weight = self.weight.contiguous(memory_format=torch.channels_last)
        elif self.groups == 1:
            return self._as_product(hidden_states)
        else:
            hidden_states, weight = hidden_states.contiguous(), self.weight
        return F.conv2d(hidden_states, weight, self.bias, self.stride, self.padding, groups=self.groups)

    def _as_product(self, hidden_states):
        """The same as one product of the kernel with all patches of the image."""
        before, (height, width), (down, right) = self.padding, self.kernel_size, self.stride
        padded = F.pad(hidden_states, (before[1], before[1], before[0], before[0]))
        patches = padded.unfold(2, height, down).unfold(3, width, right)  # (B, C, T', M', height, width)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class MaskedBatchNorm(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over the valid frames of (B, T, D), with the same parameters, buffers and results.

    In training, a batch with fewer than two valid frames is normalised but does not change the running statistics.
    """

    def forward(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T, D) and (B, T), true where valid, to (B, T, D); without a mask all frames are valid."""
        if not self.training:
            return self._batch_norm(hidden_states, self.running_mean, self.running_var)
        # Gradient checkpointing runs the forward pass a second time, inside the backward pass: count it once.
        counts = is_tracing() or torch._C._current_graph_task_id() == -1
        if frame_mask is None and hidden_states.shape[:2].numel() > 1:
            self.num_batches_tracked += counts
            running = (self.running_mean, self.running_var)
            return self._batch_norm(hidden_states, *(each if counts else each.clone() for each in running))
        if frame_mask is None:  # one frame, of which torch's takes no variance
            frame_mask = torch.ones_like(hidden_states[..., 0], dtype=torch.bool)
        valid = frame_mask.unsqueeze(-1)  # (B, T, 1)
        num_frames = valid.sum()
        at_least_float32 = torch.promote_types(hidden_states.dtype, torch.float32)  # float16 sums overflow
        states = hidden_states.to(at_least_float32).where(valid, 0.0)
        mean = states.sum((0, 1)) / num_frames.clamp(min=1)  # (D,)
        variance = (states - mean).where(valid, 0.0).square().sum((0, 1)) / num_frames.clamp(min=1)
        if counts:
            self._update_running_statistics(mean.detach(), variance.detach(), num_frames)
        scale = self.weight * (variance + self.eps).rsqrt()
        return ((hidden_states - mean) * scale + self.bias).to(hidden_states.dtype)

    def _batch_norm(self, hidden_states, mean, variance):
        image = _as_image(hidden_states)
        image = F.batch_norm(image, mean, variance, self.weight, self.bias, self.training, self.momentum, self.eps)
        return image.squeeze(2).transpose(1, 2)

    @torch.no_grad()
    def _update_running_statistics(self, mean, variance, num_frames):
        momentum = self.momentum * (num_frames > 1).to(mean.dtype)  # a product with a bool is rounded to float32
        unbiased = variance * num_frames / (num_frames - 1).clamp(min=1)
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_var += momentum * (unbiased - self.running_var)
        self.num_batches_tracked += num_frames > 1


def _as_image(hidden_states):
    """(B, T, D) to (B, D, 1, T), the same memory."""
    return hidden_states.transpose(1, 2).unsqueeze(2)

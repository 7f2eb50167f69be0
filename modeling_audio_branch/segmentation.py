"""Where a clip is cut into segments: at equal times, or where a learned mass of its frames has passed.

B batch, T frames, S segments, D d_model. With `segmentation="uniform"`, a clip of L valid frames is cut like torch's
adaptive pooling cuts it: segment s holds the frames floor(s L / S) to ceil((s + 1) L / S) - 1. No frame is left out,
and a clip shorter than S frames still gives every segment one. With L = 10 and S = 4:

    frame      0 1 2 3 4 5 6 7 8 9
    segment 0  x x x
    segment 1      x x x             a frame on a border belongs to both sides
    segment 2            x x x
    segment 3                x x x
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

MIN_MASS = 1e-3  # of a frame, so that a clip of silence has segments, too


def segment_bounds(num_valid: torch.Tensor, num_segments: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First frame of each segment and the frame after its last, (B, S) each, for clips of `num_valid` (B,) frames."""
    segments = torch.arange(num_segments, device=num_valid.device)
    start = segments * num_valid[:, None] // num_segments
    end = -(-(segments + 1) * num_valid[:, None] // num_segments)  # ceil
    return start, end


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Half precision as float32, in which weights and masses are computed; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class LearnedSegmentation(nn.Module):
    """Cuts a clip into segments of the same mass, where each frame has a learned one between 0 and 1.

    Silence, noise and pauses, once their frames have learned a small mass, hardly move a border and hardly count. This
    is the integration of Continuous Integrate-and-Fire (Dong and Xu 2020, https://arxiv.org/abs/1905.11235), whose
    masses are scaled to sum up to the number of segments. All frames begin with the same mass, which cuts at equal
    times.
    """

    def __init__(self, d_model: int, num_segments: int):
        super().__init__()
        self.num_segments = num_segments
        self.weight = nn.Parameter(torch.empty(d_model))
        self.bias = nn.Parameter(torch.empty(1))

    def init_parameters(self):
        init.zeros_(self.weight)
        init.zeros_(self.bias)

    def forward(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states: (B, T, D).
            frame_mask: (B, T), true on valid frames.

        Returns:
            The mass of each frame in each segment, (B, S, T), zero where a frame is not in it; all segments of a clip
            have the same sum. And the borders (B, S + 1), from 0 to 1, as parts of the clip's time. Both are at least
            float32.
        """
        # A sum of products, and no product of matrices, which an export to int8 would round.
        mass = at_least_float32((hidden_states * self.weight).sum(-1) + self.bias).sigmoid() + MIN_MASS  # (B, T)
        total = (mass * frame_mask).cumsum(-1)  # (B, T), up to and with each frame
        end = total * (self.num_segments / total[:, -1:].clamp(min=MIN_MASS))  # in segments
        start = F.pad(end[:, :-1], (1, 0))
        segments = torch.arange(self.num_segments, device=mass.device).unsqueeze(-1)  # (S, 1)
        start, end, valid = start.unsqueeze(1), end.unsqueeze(1), frame_mask.unsqueeze(1)  # (B, 1, T)
        inside = torch.minimum(end, segments + 1) - torch.maximum(start, segments)
        inside = inside.clamp(min=0)  # (B, S, T)
        # A border lies as far in its frame as the mass before it has to go there. The times teach nothing.
        start, length = start.detach(), (end - start).detach()
        before = ((segments[1:] - start) / length.where(length > 0, 1.0)).clamp(0, 1) * valid  # (B, S - 1, T)
        borders = before.sum(-1) / frame_mask.sum(-1, keepdim=True).clamp(min=1)
        return inside, F.pad(F.pad(borders, (1, 0)), (0, 1), value=1.0)

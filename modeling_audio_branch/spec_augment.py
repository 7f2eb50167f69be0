"""SpecAugment (Park et al. 2019) with masked spans that fit each clip.

B batch, T log-mel frames, M mel bins.
"""

import torch


def random_spans(length: torch.Tensor, longest: torch.Tensor, size: int, num_spans: int) -> torch.Tensor:
    """A mask (B, size), true inside `num_spans` random spans of 0 to `longest` (B,) of `length` (B,) positions."""
    shape = (len(length), num_spans, 1)
    width = (torch.rand(shape, device=length.device) * (longest[:, None, None].floor() + 1)).floor()
    start = (torch.rand(shape, device=length.device) * (length[:, None, None] - width + 1)).floor()
    positions = torch.arange(size, device=length.device)
    return ((positions >= start) & (positions < start + width)).any(1)


def spec_augment(input_features: torch.Tensor, frame_mask: torch.Tensor, config) -> torch.Tensor:
    """Sets random spans of frames and of mel bins to zero, which is the mean after normalisation.

    A time span is inside its clip's valid frames, and at most `time_mask_ratio` of them long. A frequency span is at
    most `freq_mask_width` bins wide. Each clip gets its own spans. The input is not modified.

    Args:
        input_features: Log-mel frames (B, T, M).
        frame_mask: Their mask (B, T).
        config: An [`AudioBranchConfig`].
    """
    length = frame_mask.sum(-1).float()  # (B,)
    bins = torch.full_like(length, config.n_mels)
    widest = torch.full_like(length, min(config.freq_mask_width, config.n_mels))
    time = random_spans(length, config.time_mask_ratio * length, frame_mask.shape[1], config.num_time_masks)
    frequency = random_spans(bins, widest, config.n_mels, config.num_freq_masks)
    return input_features.masked_fill(time.unsqueeze(-1) | frequency.unsqueeze(1), 0.0)

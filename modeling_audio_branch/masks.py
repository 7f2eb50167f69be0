"""Masks of valid samples and frames: true where the clip is, false on the padding behind it.

`attention_mask` is the mask that users give and get; `frame_mask` is the boolean mask of the frames inside the model.
"""

import torch


def is_tracing() -> bool:
    """Whether torch.compile or torch.export records the operations, so that none may depend on a tensor's values."""
    return torch.compiler.is_compiling()


def length_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Mask (B, size) that is true on the first `lengths` (B,) positions of each clip."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def checked_mask(attention_mask: torch.Tensor | None, shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """A user's mask as booleans (B, L); all true without one.

    Raises:
        ValueError: The mask has another shape than (B, L), or a 1 after a 0 (the padding must be on the right).
    """
    if attention_mask is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    if attention_mask.shape != torch.Size(shape):
        raise ValueError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}; give {tuple(shape)}, one number per sample "
            f"of raw audio or per frame of features."
        )
    attention_mask = attention_mask.bool()
    if not is_tracing() and (attention_mask[:, 1:] & ~attention_mask[:, :-1]).any():
        raise ValueError("attention_mask has a 1 after a 0; pad on the right: ones, then zeros.")
    return attention_mask

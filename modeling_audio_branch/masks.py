"""Masks of valid samples and frames: true where the clip is, false on the padding behind it.

`attention_mask` is the mask that users give and get; `frame_mask` is the boolean mask of the frames inside the model.
`lengths` are the same as whole numbers on the host, so that no device has to be asked. B batch, L positions.
"""

from collections.abc import Sequence

import numpy as np
import torch


def is_tracing() -> bool:
    """Whether torch.compile, torch.export or torch.jit.trace records the operations.

    None may then depend on a tensor's values.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def to_device(numbers: list, device: torch.device) -> torch.Tensor:
    """Whole numbers as a tensor on a device, which the host does not wait for."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def length_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Mask (B, size) that is true on the first `lengths` (B,) positions of each clip."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def mask_lengths(attention_mask: torch.Tensor) -> list[int]:
    """The valid positions of each clip of a mask (B, L): the only question that a device is asked.

    Raises:
        ValueError: The mask has a 1 after a 0 (the padding must be on the right).
    """
    starts = attention_mask[:, 1:] & ~attention_mask[:, :-1]  # of ones after a zero
    lengths, wrong = torch.stack([attention_mask.sum(-1), starts.sum(-1)]).tolist()
    if any(wrong):
        raise ValueError("attention_mask has a 1 after a 0; pad on the right: ones, then zeros.")
    return lengths


def checked_mask(
    attention_mask: torch.Tensor | None,
    shape: tuple[int, int],
    device: torch.device,
    lengths: Sequence[int] | None = None,
) -> tuple[torch.Tensor, list[int] | None]:
    """A user's mask as booleans (B, L), all true without one; and the valid positions of each clip.

    Args:
        attention_mask: (B, L), or None.
        shape: (B, L).
        device: Of the mask.
        lengths: The valid positions of each clip, where they are known; else they are read from the mask.

    Returns:
        The mask, and the lengths: None where operations are recorded, which must not depend on them.

    Raises:
        ValueError: The mask has another shape than (B, L), or a 1 after a 0 (the padding must be on the right); or the
            lengths are not B whole numbers from 0 to L, or others than those of a mask in the CPU's memory.
    """
    if attention_mask is not None and attention_mask.shape != torch.Size(shape):
        raise ValueError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}; give {tuple(shape)}, one number per sample "
            f"of raw audio or per frame of features."
        )
    if attention_mask is not None:
        attention_mask = attention_mask.bool()
    if is_tracing():
        if attention_mask is None and lengths is not None:
            attention_mask = length_mask(torch.tensor(_checked_lengths(lengths, shape), device=device), shape[1])
        elif attention_mask is None:
            attention_mask = torch.ones(shape, dtype=torch.bool, device=device)
        return attention_mask, None
    if lengths is not None:
        lengths = _checked_lengths(lengths, shape)
        if attention_mask is None:
            return length_mask(to_device(lengths, torch.device(device)), shape[1]), lengths
        if attention_mask.device.type != "cpu":
            return attention_mask, lengths
    if attention_mask is None:
        return torch.ones(shape, dtype=torch.bool, device=device), [shape[1]] * shape[0]
    found = mask_lengths(attention_mask)
    if lengths not in (None, found):
        raise ValueError(f"lengths={lengths!s:.100} differ from the attention_mask's {found!s:.100}; leave one out.")
    return attention_mask, found


def _checked_lengths(lengths, shape):
    if isinstance(lengths, (torch.Tensor, np.ndarray)):
        lengths = lengths.tolist()
    numbers = list(lengths) if isinstance(lengths, (list, tuple)) else []
    whole = all(isinstance(each, (int, np.integer)) and not isinstance(each, bool) for each in numbers)
    if not whole or len(numbers) != shape[0] or not all(0 <= each <= shape[1] for each in numbers):
        raise ValueError(
            f"lengths={lengths!s:.100} was given; give {shape[0]} whole numbers from 0 to {shape[1]}: the valid "
            f"samples of raw audio, or frames of features, of each clip."
        )
    return [int(each) for each in numbers]

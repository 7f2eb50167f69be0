"""Encoding recordings of any length block by block, where no frame sees further than its window.

T log-mel frames, T' encoder frames, M mel bins, D d_model.
"""

from collections.abc import Iterable, Iterator

import torch

STREAMED_FRAMES = 1024  # encoder frames of a block


def is_limited(config) -> bool:
    """Whether an encoder frame depends on the frames around it alone, so that a recording can be encoded in blocks."""
    return (
        not config.encoder_config
        and min(config.attention_context) >= 0
        and not config.attention_chunked
        and config.global_attention == "none"
    )


def context_frames(config) -> int:
    """The encoder frames to each side that any encoder frame depends on, of a configuration that is limited."""
    convolution = max(config.conv_context or [config.conv_kernel_size // 2])
    subsampling = 3 if config.subsampling_factor > 1 else 0  # stages of 3 x 3 convolutions see less than two frames
    return config.num_layers * (max(config.attention_context) + convolution) + subsampling


@torch.no_grad()
def stream_frames(model, blocks: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, int]]:
    """The encoder frames of a recording that comes in blocks of samples, without ever holding all of it.

    Args:
        model: An [`AudioBranchModel`] in eval mode whose configuration is limited (see `is_limited`).
        blocks: See [`LogMel.stream`].

    Yields:
        Encoder frames (T', D), those that are pooled, and the valid log-mel frames that they are made of.
    """
    factor, context = model.config.subsampling_factor, context_frames(model.config)
    held, start, done = None, 0, 0  # log-mel frames, the encoder frame that they start with, the encoder frames made
    for piece in model.front_end.stream(blocks):
        held = piece if held is None else torch.cat([held, piece])  # (T, M)
        while len(held) >= (done + STREAMED_FRAMES + context - start) * factor:
            stop = done + STREAMED_FRAMES
            seen = held[: (stop + context - start) * factor]
            yield _encode(model, seen)[done - start : stop - start], STREAMED_FRAMES * factor
            first_needed, done = max(start, stop - context), stop
            held, start = held[(first_needed - start) * factor :], first_needed
    if held is not None:  # the frames of the last context, at least
        yield _encode(model, held)[done - start :], len(held) - (done - start) * factor


def _encode(model, frames):
    """Log-mel frames (T, M), all valid, to encoder frames (T', D)."""
    frames = frames.to(model.dtype).unsqueeze(0)
    mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    layer_weights = None if model.layer_weights is None else model.layer_weights.softmax(0)
    return model.encoder(frames, mask, layer_weights, lengths=[frames.shape[1]])[1][0]

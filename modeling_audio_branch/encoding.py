"""Encoding audio of any form: decoded, sorted by length, batched; long files block by block.

S segments.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import torch

from .audio_input import load_audio, long_file, pad_batch

LONG_FILE_SECONDS = 120  # longer files at the model's rate are read block by block and encoded alone
READ_AHEAD_BATCHES = 32  # batches of clips that are decoded at a time, to be sorted by length
OUTPUTS = ("pooler_output", "segment_features", "segment_mask", "segment_times")


def iter_encode(
    model,
    clips: list,
    sampling_rate: int | None = None,
    batch_size: int = 8,
    same_length_batches: bool = False,
    is_batch: bool = True,
) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """Encodes clips, and yields each as soon as its batch is done: long files first, then by length.

    Args:
        model: An [`AudioBranchModel`]. It is in eval mode until the last clip has been yielded.
        clips: Clips of any form (see `audio_input`).
        sampling_rate: Rate in Hz of the clips that don't carry their own.
        batch_size: Clips per forward pass.
        same_length_batches: Batch only clips of equal length, so that nothing is padded.
        is_batch: Whether error messages name a clip by its index.

    Yields:
        The index of a clip, and its `segment_features` (S, feature_dim), `segment_times` (S, 2), `segment_mask` (S,)
        and `pooler_output` (feature_dim,), on the CPU.
    """
    rate = model.config.sample_rate
    with eval_mode(model):
        for first in range(0, len(clips), batch_size * READ_AHEAD_BATCHES):
            indices = range(first, min(first + batch_size * READ_AHEAD_BATCHES, len(clips)))
            short = []
            for index in indices:
                blocks = long_file(clips[index], rate, LONG_FILE_SECONDS) if model.front_end.can_stream else None
                if blocks is None:
                    short.append(index)
                else:
                    yield index, _forward(model, *model.front_end.stream(blocks))[0]
            waves = {i: load_audio(clips[i], rate, sampling_rate, i if is_batch else None) for i in short}
            model.front_end.check_lengths(waves)
            for batch in _batches(waves, batch_size, same_length_batches):
                padded = pad_batch([waves[i] for i in batch], device=model.device)
                yield from zip(batch, _forward(model, *padded), strict=True)


def _batches(waves, batch_size, same_length):
    """The indices of the clips (index: samples) in batches, sorted by length."""
    by_length = sorted(waves, key=lambda i: len(waves[i]))
    groups = [by_length]
    if same_length:
        groups = [list(group) for _, group in groupby(by_length, key=lambda i: len(waves[i]))]
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]


@torch.no_grad()
def _forward(model, inputs, attention_mask):
    """One forward pass; a list of each clip's outputs."""
    output = model(inputs, attention_mask)
    columns = [output[name].cpu() for name in OUTPUTS]
    return [dict(zip(OUTPUTS, values, strict=True)) for values in zip(*columns, strict=True)]


@contextmanager
def eval_mode(model):
    """The model in eval mode inside, in its former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

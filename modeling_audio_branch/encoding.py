"""Encoding audio of any form: decoded, sorted by length, batched; long files block by block.

S segments.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from .audio_input import check_exists, load_audio, long_file, pad_batch

LONG_FILE_SECONDS = 120  # longer files at the model's rate are read block by block and encoded alone
READ_AHEAD_BATCHES = 32  # batches of clips that are decoded at a time, to be sorted by length
OUTPUTS = ("pooler_output", "segment_features", "segment_mask", "segment_times")
BAD_CLIP = (ValueError, TypeError, OSError)  # what reading a clip may raise


@dataclass
class EncodedClip:
    """What `iter_encode` yields for a clip.

    Args:
        index: Position of the clip in the batch.
        outputs: `segment_features` (S, feature_dim), `segment_times` (S, 2), `segment_mask` (S,) and `pooler_output`
            (feature_dim,), on the CPU; None if the clip was skipped.
        error: The sentence that says why it was skipped.
    """

    index: int
    outputs: dict[str, torch.Tensor] | None = None
    error: str | None = None


def iter_encode(
    model,
    clips: list,
    sampling_rate: int | None = None,
    batch_size: int = 8,
    same_length_batches: bool = False,
    is_batch: bool = True,
    on_error: str = "raise",
) -> Iterator[EncodedClip]:
    """Encodes clips, and yields each as soon as its batch is done: long files first, then by length.

    The model is not changed, so that several threads may use it. In training mode, a copy in eval mode that shares all
    weights encodes the clips.

    Args:
        model: An [`AudioBranchModel`].
        clips: Clips of any form (see `audio_batch`).
        sampling_rate: Rate in Hz of the clips that don't carry their own.
        batch_size: Clips per forward pass.
        same_length_batches: Batch only clips of equal length, so that nothing is padded.
        is_batch: Whether error messages name a clip by its index.
        on_error: `raise` the error of a clip that can't be read (that of a missing file before anything is encoded), or
            `skip` the clip.
    """
    model, present = eval_copy(model), []
    for i, clip in enumerate(clips):
        try:
            check_exists(clip, i if is_batch else None)
            present.append(i)
        except FileNotFoundError as error:
            if on_error == "raise":
                raise
            yield EncodedClip(i, error=str(error))
    for first in range(0, len(present), batch_size * READ_AHEAD_BATCHES):
        waves = {}
        for i in present[first : first + batch_size * READ_AHEAD_BATCHES]:
            try:
                wave_or_frames = _read(model, clips[i], sampling_rate, i if is_batch else None)
            except BAD_CLIP as error:
                if on_error == "raise":
                    raise
                yield EncodedClip(i, error=str(error))
                continue
            if isinstance(wave_or_frames, tuple):
                yield EncodedClip(i, _forward(model, *wave_or_frames)[0])
            else:
                waves[i] = wave_or_frames
        for batch in _batches(waves, batch_size, same_length_batches):
            padded = pad_batch([waves[i] for i in batch], device=input_device(model))
            yield from map(EncodedClip, batch, _forward(model, *padded))


def _read(model, clip, sampling_rate, index):
    """The samples (L,) of a clip; of a long file its log-mel frames (1, T, M), their mask (1, T) and number."""
    rate = model.config.sample_rate
    if model.front_end.can_stream:
        blocks = long_file(clip, rate, LONG_FILE_SECONDS, index)
        if blocks is not None:
            return model.front_end.stream(blocks)
    wave = load_audio(clip, rate, sampling_rate, index)
    model.front_end.check_lengths({index or 0: wave})
    return wave


def _batches(waves, batch_size, same_length):
    """The indices of the clips (index: samples) in batches, sorted by length."""
    by_length = sorted(waves, key=lambda i: len(waves[i]))
    groups = [by_length]
    if same_length:
        groups = [list(group) for _, group in groupby(by_length, key=lambda i: len(waves[i]))]
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]


def stack_clips(encoded: Iterable[EncodedClip], config) -> tuple[dict[str, torch.Tensor], dict[int, str]]:
    """The outputs of all clips in the order of their indices, zero for skipped ones; and the errors by index."""
    clips = sorted(encoded, key=lambda clip: clip.index)
    segments = config.num_segments
    skipped = {
        "pooler_output": torch.zeros(config.feature_dim),
        "segment_features": torch.zeros(segments, config.feature_dim),
        "segment_mask": torch.zeros(segments, dtype=torch.int32),
        "segment_times": torch.zeros(segments, 2),
    }
    outputs = {name: torch.stack([(clip.outputs or skipped)[name] for clip in clips]) for name in OUTPUTS}
    return outputs, {clip.index: clip.error for clip in clips if clip.error is not None}


def input_device(model) -> torch.device:
    """Where the inputs go: an offloaded model has its weights on the meta device, and moves its inputs by itself."""
    return torch.device("cpu") if model.device.type == "meta" else model.device


@torch.no_grad()
def _forward(model, inputs, attention_mask, lengths):
    """One forward pass; a list of each clip's outputs."""
    output = model(inputs, attention_mask, lengths=lengths)
    columns = [output[name].cpu() for name in OUTPUTS]
    return [dict(zip(OUTPUTS, values, strict=True)) for values in zip(*columns, strict=True)]


def eval_copy(model: nn.Module) -> nn.Module:
    """The model itself if it is in eval mode, else a copy in eval mode that shares its weights and buffers.

    Raises:
        ValueError: A part in training mode has a forward function of its own, which would run the part itself.
    """
    if not any(module.training for module in model.modules()):
        return model
    if wrapped := [name for name, module in model.named_modules() if "forward" in vars(module)]:
        raise ValueError(
            f"encode was called in training mode, and {wrapped[0] or 'the model'} is wrapped (by accelerate or a "
            f"compiler); call model.eval() first."
        )
    copies = {}

    def copied(module):
        if module not in copies:
            copies[module] = duplicate = copy.copy(module)
            duplicate.training = False
            duplicate._modules = {name: child and copied(child) for name, child in module._modules.items()}
        return copies[module]

    return copied(model)

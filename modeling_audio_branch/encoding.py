"""Encoding audio of any form: decoded, sorted by length, batched; long files block by block.

S segments.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from .audio_input import check_exists, load_audio, long_file, pad_batch
from .spans import SlidingWindows, SpanError

LONG_FILE_SECONDS = 120  # longer files at the model's rate are read block by block and encoded alone
READ_AHEAD_BATCHES = 32  # batches of clips that are decoded at a time, to be sorted by length
OUTPUTS = ("pooler_output", "segment_features", "sequence_embedding", "segment_mask", "segment_times")
BAD_CLIP = (ValueError, TypeError, OSError)  # what reading a clip may raise


@dataclass
class EncodedClip:
    """What `iter_encode` yields for a clip.

    Args:
        index: Position of the clip in the batch.
        outputs: `segment_features` (S, feature_dim), `sequence_embedding` (S * feature_dim,), `segment_times` (S, 2),
            `segment_mask` (S,) and `pooler_output` (feature_dim,), on the CPU, with spans each with an axis N in front;
            None if the clip was skipped.
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
    spans: list | SlidingWindows | None = None,
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
        spans: Of each clip (see [`AudioBranchModel.forward`]), or the windows of all; None for whole clips.
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
                yield EncodedClip(i, _forward(model, *wave_or_frames, [i], spans)[0])
            else:
                waves[i] = wave_or_frames
        for batch in _batches(waves, batch_size, same_length_batches):
            padded = pad_batch([waves[i] for i in batch], device=input_device(model))
            yield from map(EncodedClip, batch, _forward(model, *padded, batch, spans))


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


def stack_clips(
    encoded: Iterable[EncodedClip], config, with_spans: bool = False
) -> tuple[dict[str, torch.Tensor], dict[int, str]]:
    """The outputs of all clips in the order of their indices, zero for skipped ones; and the errors by index.

    With spans, those of clips that have fewer than others are zero behind their own.
    """
    clips = sorted(encoded, key=lambda clip: clip.index)
    segments, axes = config.num_segments, (0,) if with_spans else ()
    skipped = {
        "pooler_output": torch.zeros(*axes, config.feature_dim),
        "segment_features": torch.zeros(*axes, segments, config.feature_dim),
        "sequence_embedding": torch.zeros(*axes, segments * config.feature_dim),
        "segment_mask": torch.zeros(*axes, segments, dtype=torch.int32),
        "segment_times": torch.zeros(*axes, segments, 2),
    }
    columns = {name: [(clip.outputs or skipped)[name] for clip in clips] for name in OUTPUTS}
    join = partial(pad_sequence, batch_first=True) if with_spans else torch.stack
    outputs = {name: join(column) for name, column in columns.items()}
    return outputs, {clip.index: clip.error for clip in clips if clip.error is not None}


def input_device(model) -> torch.device:
    """Where the inputs go: an offloaded model has its weights on the meta device, and moves its inputs by itself."""
    return torch.device("cpu") if model.device.type == "meta" else model.device


@torch.no_grad()
def _forward(model, inputs, attention_mask, lengths, batch, spans):
    """One forward pass of the clips with the indices `batch`; a list of each clip's outputs."""
    if isinstance(spans, Sequence):
        spans = [spans[i] for i in batch]
    try:
        output = model(inputs, attention_mask, lengths=lengths, spans=spans)
    except SpanError as error:
        raise error.of_clip(batch[error.clip]) from error
    columns = [output[name].cpu() for name in OUTPUTS]
    clips = [dict(zip(OUTPUTS, values, strict=True)) for values in zip(*columns, strict=True)]
    if spans is not None:  # without the padding of clips with fewer spans than others of their batch
        counts = [int(clip["segment_mask"][:, 0].sum()) for clip in clips]
        clips = [{n: value[:count] for n, value in clip.items()} for clip, count in zip(clips, counts, strict=True)]
    return clips


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

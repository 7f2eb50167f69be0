"""Encoding audio of any form: decoded, sorted by length, batched; long files block by block.

S segments.
"""

import copy
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from .audio_batch import as_clips
from .audio_file import long_file
from .audio_input import check_exists, load_audio, pad_batch
from .outputs import AudioBranchOutput
from .spans import SlidingWindows, SpanError, spans_of_clips
from .streaming import is_limited, stream_frames
from .trimming import sound_span

LONG_FILE_SECONDS = 120  # longer files are read block by block and encoded alone
MIN_SOUND_SECONDS = 0.1  # a clip whose sound is shorter is not trimmed
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


class EncodingMixin:
    """`encode` of [`AudioBranchModel`]."""

    def encode(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        batch_size: int = 8,
        show_progress: bool | None = None,
        same_length_batches: bool = False,
        on_error: str = "raise",
        spans: Any = None,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        segment_seconds: float | None = None,
    ) -> AudioBranchOutput:
        """Segment features of any form of audio, decoded, resampled, sorted by length and batched.

        With `trim_top_db` in the configuration, silence at the ends of clips is cut off first; times stay those of the
        whole clip.

        The model itself is not changed, so that several threads may call this at a time, also in training mode.

        Args:
            audio: A clip or a batch of clips, as [`AudioBranchFeatureExtractor`] takes them.
            sampling_rate: Rate in Hz of the clips that don't carry their own.
            batch_size: Clips per forward pass. The features don't depend on it (but see `same_length_batches`).
            show_progress: Show a progress bar of the clips, and one of each file of over two minutes. By default if
                there is a terminal, and that of the clips only if they are more than one batch.
            same_length_batches: Batch only clips of equal length, so that nothing is padded. Our own encoder ignores
                padding anyway; for some others (see `encoder_config`) only this gives the features of the clip alone.
            on_error: `raise` the error of a clip that can't be read (that of a missing file before anything is
                encoded), or `skip` the clip, whose outputs are then zero.
            spans: Start and end in seconds of parts of each clip that are cut into segments: (N, 2) for one clip, else
                one for each clip.
            window_seconds: In place of `spans`: the duration of windows that slide over each clip.
            hop_seconds: From one window to the next; by default a quarter of a window.
            segment_seconds: In place of `spans`: the duration of spans that tile each clip, the last of which may be
                shorter; 1.0 gives a `pooler_output` for each second.

        Returns:
            `segment_features` (clips, S, feature_dim), `segment_times`, `segment_mask`, `pooler_output` and
            `sequence_embedding`, on the CPU, in the order of the input; without the first axis if a single clip was
            given. With `skip`, also `errors`.
            With spans or windows, the axis N of the spans comes before that of the segments.

        Raises:
            ValueError, TypeError, OSError: One sentence about an argument, or about a clip that can't be read.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} was given; give a whole number of at least 1.")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} was given; give 'raise' or 'skip'.")
        clips, is_batch = as_clips(audio)
        spans = spans_of_clips(spans, window_seconds, hop_seconds, segment_seconds, len(clips), is_batch)
        show_files = sys.stderr.isatty() if show_progress is None else show_progress
        encoded = iter_encode(
            self,
            clips,
            sampling_rate,
            batch_size,
            same_length_batches,
            is_batch,
            on_error,
            spans,
            show_progress=show_files,
        )
        if show_files and (
            show_progress or len(clips) > batch_size
        ):  # not a hidden bar, which takes tqdm's lock of all threads and processes too
            encoded = tqdm(encoded, total=len(clips), desc="Encoding", unit="clip")
        outputs, errors = stack_clips(encoded, self.config, spans is not None)
        if not is_batch:
            outputs = {name: value[0] for name, value in outputs.items()}
        return AudioBranchOutput(**outputs, errors=errors if on_error == "skip" else None)


def iter_encode(
    model,
    clips: list,
    sampling_rate: int | None = None,
    batch_size: int = 8,
    same_length_batches: bool = False,
    is_batch: bool = True,
    on_error: str = "raise",
    spans: list | SlidingWindows | None = None,
    batch_samples: int | None = None,
    show_progress: bool = False,
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
        batch_samples: At most so many samples in a forward pass, padding included, but at least one clip.
        show_progress: Show a progress bar of each file that is read block by block.
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
        waves, starts = {}, {}  # samples by index; where they begin in the clip, in seconds
        for i in present[first : first + batch_size * READ_AHEAD_BATCHES]:
            try:
                index = i if is_batch else None
                blocks = _long_file(model, clips[i], index, show_progress)
                if blocks is not None:
                    outputs = _encode_long(model, blocks, _spans_of(spans, [i]), i)
                else:
                    waves[i] = load_audio(clips[i], model.config.sample_rate, sampling_rate, index)
                    if spans is None:
                        waves[i], starts[i] = _trimmed(waves[i], model.config)
                    model.front_end.check_lengths({index or 0: waves[i]})
            except BAD_CLIP as error:
                if on_error == "raise" or isinstance(error, SpanError):
                    raise
                waves.pop(i, None)
                yield EncodedClip(i, error=str(error))
                continue
            if blocks is not None:
                yield EncodedClip(i, outputs)
        for batch in _batches(waves, batch_size, same_length_batches, batch_samples):
            padded = pad_batch([waves[i] for i in batch], device=input_device(model))
            for i, outputs in zip(batch, _forward(model, *padded, batch, _spans_of(spans, batch)), strict=True):
                outputs["segment_times"] = outputs["segment_times"] + starts.get(i, 0.0)
                yield EncodedClip(i, outputs)


def _trimmed(waveform, config):
    """The samples from the start to the end of the sound, and where they begin, in seconds."""
    if config.trim_top_db is None or len(waveform) > LONG_FILE_SECONDS * config.sample_rate:
        return waveform, 0.0
    start, end = sound_span(waveform, config.sample_rate, config.trim_top_db)
    if end - start < MIN_SOUND_SECONDS * config.sample_rate:
        return waveform, 0.0
    return waveform[start:end], start / config.sample_rate


def _long_file(model, clip, index, show_progress):
    """A long file to be encoded by itself, if the model's front end can read it block by block; else None."""
    if not model.front_end.can_stream:
        return None
    return long_file(clip, model.config.sample_rate, LONG_FILE_SECONDS, index, show_progress)


@torch.no_grad()
def _encode_long(model, blocks, spans, index):
    """The outputs of a recording in blocks of samples.

    Where attention is limited, so is memory: to a block, and 4 D bytes for each encoder frame. Else all log-mel frames
    are encoded at once.
    """
    if is_limited(model.config):
        frames, counts = zip(*stream_frames(model, blocks), strict=True)
        frames = torch.cat(frames).unsqueeze(0)  # (1, T', D)
        mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        seconds = torch.tensor([sum(counts) * model.front_end.seconds_per_frame], device=frames.device)
        try:
            output, _ = model.pool_segments(frames, mask, seconds, spans)
        except SpanError as error:
            raise error.of_clip(index) from error
        return {name: output[name][0].cpu() for name in OUTPUTS}
    frames = torch.cat([*model.front_end.stream(blocks)]).unsqueeze(0)  # (1, T, M)
    return _forward(model, frames, None, [frames.shape[1]], [index], spans)[0]


def _spans_of(spans, batch):
    """The spans of the clips with the indices `batch`; windows are the same for all clips."""
    return [spans[i] for i in batch] if isinstance(spans, Sequence) else spans


def _batches(waves, batch_size, same_length, batch_samples):
    """The indices of the clips (index: samples) in batches, sorted by length."""
    batches, longest = [], 0
    for i in sorted(waves, key=lambda i: len(waves[i])):
        length, size = len(waves[i]), len(batches[-1]) if batches else batch_size
        is_full = size >= batch_size or (batch_samples is not None and (size + 1) * length > batch_samples)
        if is_full or (same_length and length != longest):
            batches.append([])
        batches[-1].append(i)
        longest = length
    return batches


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
    """One forward pass of the clips with the indices `batch`, and their spans; a list of each clip's outputs."""
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

"""Embedding the shards of a plan in one process.

S segments, C stored numbers of a segment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..encoding import EncodedClip, input_device, iter_encode
from ..modeling_audio_branch import AudioBranchModel
from .compression import FeatureFormat, compress
from .decoding import Decoded, as_file, decode
from .features import Embedded, Failure, shard_path, write_shard
from .plan import Plan

BATCHES_AT_ONCE = 4  # that are sorted by length together


class Interrupted(Exception):
    """Somebody asked for the end; the shards before are whole."""


@dataclass
class Work:
    """What all processes of a job share.

    Args:
        model: In eval mode.
        form: How features are stored.
        rotation: (D, D), or None without `form.dim`.
        about: What made the features, for their metadata.
        audio: The embedded audio of each source that has some.
        batch_seconds: At most so much audio in a forward pass, padding included, but at least one clip.
    """

    model: AudioBranchModel
    form: FeatureFormat
    rotation: torch.Tensor | None
    about: dict[str, Any]
    audio: dict[str, Any]
    batch_seconds: float

    @property
    def is_on_cpu(self) -> bool:
        """Whether the model is."""
        return input_device(self.model).type == "cpu"

    def embed(
        self,
        plan: Plan,
        shards: list[int],
        folder: Path,
        through: Path,
        workers: int = 0,
        report: Callable[[int, float, int], None] = lambda rows, seconds, failures: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Embeds shards one after the other, and writes each when it is done.

        Args:
            plan: To which they belong.
            shards: Their numbers.
            folder: Of their files.
            through: Folder on the same disk, for files that are not whole.
            workers: Processes that decode; with 0, this one does.
            report: Called with the number of rows that are done, their seconds of audio, and how many failed.
            is_stopped: Asked after each batch.

        Raises:
            Interrupted: `is_stopped` said so.
            DiskError: A shard can't be written.
        """
        config = self.model.config
        numbers = [row for shard in shards for row in plan.rows_of(shard)]
        can_stream = self.model.front_end.can_stream
        decoded = decode(plan.rows, numbers, self.audio, config.sample_rate, can_stream, workers)
        for shard in shards:
            rows, failures = {}, []
            for clip, encoded in self._encode(islice(decoded, len(plan.rows_of(shard)))):
                if encoded.error is None:
                    rows[clip.row] = row = self._stored(clip, encoded)
                    report(1, row.seconds, 0)
                else:
                    given = plan.rows.slice(clip.row, 1).select(["path", "start", "end"]).to_pylist()[0]
                    failures.append(Failure(clip.row, sentence=encoded.error, **given))
                    report(1, 0.0, 1)
                if is_stopped():
                    raise Interrupted
            in_order = [rows[row] for row in sorted(rows)]
            failures.sort(key=lambda failure: failure.row)
            write_shard(shard_path(folder, shard), plan, in_order, failures, self.about, through)

    def embed_row(self, plan: Plan, row: int) -> Embedded | None:
        """A row of the plan, alone; None if it can't be embedded."""
        rate, can_stream = self.model.config.sample_rate, self.model.front_end.can_stream
        (clip, encoded), *_ = self._encode(decode(plan.rows, [row], self.audio, rate, can_stream, workers=0))
        return None if encoded.error is not None else self._stored(clip, encoded)

    def _encode(self, decoded: Iterator[Decoded]) -> Iterator[tuple[Decoded, EncodedClip]]:
        """The outputs of decoded clips, in another order: those of similar length are encoded together."""
        samples = self.batch_seconds * self.model.config.sample_rate
        held, held_samples = [], 0
        for clip in decoded:
            if clip.error is not None:
                yield clip, EncodedClip(clip.row, error=clip.error)
            elif not isinstance(clip.audio, np.ndarray):  # a long file
                with as_file(clip.audio) as path:
                    yield clip, next(self._encode_together([path]))
            else:
                held, held_samples = [*held, clip], held_samples + len(clip.audio)
                if held_samples >= BATCHES_AT_ONCE * samples:
                    yield from self._encode_held(held)
                    held, held_samples = [], 0
        yield from self._encode_held(held)

    def _encode_held(self, held):
        for encoded in self._encode_together([clip.audio for clip in held]):
            yield held[encoded.index], encoded

    def _encode_together(self, clips):
        """As `encode` does, so that each clip has the features that it has alone."""
        model, rate = self.model, self.model.config.sample_rate
        same_length = bool(model.config.encoder_config) and not model.encoder.is_padding_invariant
        samples, count = int(self.batch_seconds * rate), max(1, len(clips))
        return iter_encode(model, clips, rate, count, same_length, False, "skip", batch_samples=samples)

    def _stored(self, clip, encoded):
        outputs = encoded.outputs
        features = compress(outputs["segment_features"], self.form, self.rotation)
        sequence = None
        if self.form.sequence_embedding:
            units = torch.nn.functional.normalize(torch.from_numpy(features).float(), dim=-1)
            sequence = units.flatten().numpy() / np.sqrt(len(units))
            if self.form.dim is None:
                sequence = outputs["sequence_embedding"].float().numpy()
        times, mask = outputs["segment_times"].numpy(), outputs["segment_mask"].numpy().astype(bool)
        is_long = not isinstance(clip.audio, np.ndarray)
        seconds = float(times[-1, 1]) if is_long else len(clip.audio) / self.model.config.sample_rate
        return Embedded(clip.row, clip.id, seconds, features, times, mask, sequence)

"""Whether features are still what the model makes of the audio."""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..modeling_audio_branch import AudioBranchModel
from .compression import FeatureFormat, unpack_signs
from .embedding import CorpusFolder
from .errors import CorpusError
from .features import as_array, failures_of, read_shard, shard_path
from .sources import source_of

ALLOWED = {"float32": 1e-5, "float16": 1e-3, "int8": 1.01 / 127, "binary": 0.02}  # differences of rounding


@dataclass
class Verified:
    """The result of `verify_features`.

    Args:
        rows: How many were computed again.
        difference: The largest between a stored number and the new one, as a part of the row's largest number (at
            least 1); of signs, the share that differs.
        allowed: A difference that is due to rounding.
        changed: The paths of audio that is not there any more, can't be read, or is other audio than before.
    """

    rows: int = 0
    difference: float = 0.0
    allowed: float = 0.0
    changed: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether every row has the features of its audio."""
        return not self.changed and self.difference <= self.allowed


def verify_features(
    folder: str | os.PathLike,
    model: AudioBranchModel | str | os.PathLike | None = None,
    sample: int = 50,
    split: str | None = None,
) -> Verified:
    """Computes random rows of a table of features again, each alone, and compares.

    Args:
        folder: Output of `embed_corpus`.
        model: By default the one that its embed.json names.
        sample: How many rows.
        split: Of a dataset that has several.

    Raises:
        CorpusError: The folder holds no features, or those of another model.
    """
    job = CorpusFolder(Path(folder))
    if (about := job.read_about()) is None:
        raise CorpusError(f"{folder} holds no features; give the output folder of `audio-branch embed`.")
    if model is None and about["model"] is None:
        raise CorpusError(f"{folder} was made by a model in memory; give a model.")
    form = FeatureFormat(about["dtype"], about["dim"], about["sequence_embedding"])
    work, plan = job.open(about["model"] if model is None else model, form, {}, None), job.plan()
    for name in set(plan.rows["_source"].unique().to_pylist()) - {None}:
        work.audio[name] = source_of(name, split).audio
    done = [shard for shard in range(plan.num_shards) if not job.is_missing(shard)]
    if not (numbers := [row for shard in done for row in plan.rows_of(shard)]):
        raise CorpusError(f"{folder} holds no features yet; give the same command as before to go on.")
    chosen = sorted(random.SystemRandom().sample(numbers, min(sample, len(numbers))))
    result = Verified(allowed=ALLOWED[form.dtype])
    for shard in done:
        rows = [row for row in chosen if row in plan.rows_of(shard)]
        if not rows:
            continue
        path = shard_path(job.folder, shard)
        failed = {failure.row for failure in failures_of(path)}
        kept = [row for row in plan.rows_of(shard) if row not in failed]
        table = read_shard(path, ["id", "path", "segment_features"])
        stored, ids = as_array(table["segment_features"]), table["id"].to_pylist()
        for row in sorted(set(rows) - failed):
            place = kept.index(row)
            again = work.embed_row(plan, row)
            result.rows += 1
            if again is None or (plan.rows["id"][row].as_py() or again.id) != ids[place]:
                result.changed.append(table["path"][place].as_py())
            else:
                result.difference = max(result.difference, _difference(stored[place], again.features, form.dtype))
    return result


def _difference(stored, again, dtype):
    if dtype == "binary":
        return float((unpack_signs(stored) != unpack_signs(again)).mean())
    stored, again = (np.asarray(each, np.float64) / (127 if dtype == "int8" else 1) for each in (stored, again))
    return float(np.abs(stored - again).max() / max(1.0, np.abs(again).max()))

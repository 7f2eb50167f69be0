"""What is to be embedded: the rows of all inputs, cut into shards.

The plan lies beside the features. It only grows: rows that are new come behind the others, in shards of their own, so
that a shard holds the same rows whenever and wherever it is computed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from ..hub.errors import first_line
from ..hub.writing import replaced_file
from .errors import CorpusError
from .sources import TYPES, Source

KEY, SOURCE, NUMBER, SHARD = "_key", "_source", "_number", "_shard"  # columns of the plan alone
OUTPUTS = ("seconds", "segment_features", "segment_times", "segment_mask", "sequence_embedding")
RESERVED = {KEY, SOURCE, NUMBER, SHARD, *OUTPUTS}
OCCURRENCE = 0x9E3779B97F4A7C15  # odd: equal rows get other keys by it


class Plan:
    """Rows with their path, start, end, id, the columns that are carried along, and their shard.

    Args:
        rows: Also with a key, which tells rows apart, and the source and the number in it of embedded audio.
    """

    def __init__(self, rows: pyarrow.Table):
        self.rows = rows
        shards = rows[SHARD].to_numpy()
        self._starts = np.searchsorted(shards, np.arange((shards[-1] + 1 if len(shards) else 0) + 1))

    @property
    def num_shards(self) -> int:
        """Shards are numbered from 0."""
        return len(self._starts) - 1

    @property
    def carried(self) -> list[str]:
        """The columns that are copied to the features."""
        return [name for name in self.rows.column_names if name not in TYPES and name not in RESERVED]

    def rows_of(self, shard: int) -> range:
        """The numbers of the rows of a shard."""
        return range(self._starts[shard], self._starts[shard + 1])

    def grown(self, sources: Sequence[Source], rows_per_shard: int) -> "Plan":
        """The plan with those rows of the sources behind its own that it does not have.

        Raises:
            CorpusError: A table has other columns than before, a reserved one, or other audio in its rows.
        """
        tables = [_with_keys(source) for source in sources]
        try:
            rows = pyarrow.concat_tables(tables, promote_options="permissive") if tables else self.rows.slice(0, 0)
        except pyarrow.ArrowException as error:
            raise CorpusError(
                f"The tables differ in the type of a column ({first_line(error):.100}); make them one."
            ) from error
        known = set(self.rows[KEY].to_pylist())
        is_new = np.array([key not in known for key in rows[KEY].to_pylist()], dtype=bool)
        for source, table in zip(sources, tables, strict=True):
            self._check_embedded(source, table)
        new = rows.filter(pyarrow.array(is_new))
        if not self.rows.num_rows:
            return Plan(_cut(new, 0, rows_per_shard))
        if rows.num_rows and set(rows.column_names) | {SHARD} != set(self.rows.column_names):
            others = sorted(set(rows.column_names) ^ (set(self.rows.column_names) - {SHARD}))
            raise CorpusError(
                f"The inputs have other columns than when the output was begun ({', '.join(others)}); give the same, "
                f"or another output folder."
            )
        if not new.num_rows:
            return self
        new = _cut(new, self.num_shards, rows_per_shard).select(self.rows.column_names)
        try:
            return Plan(pyarrow.concat_tables([self.rows, new.cast(self.rows.schema)]).combine_chunks())
        except (pyarrow.ArrowException, ValueError) as error:
            raise CorpusError(
                f"The inputs have columns of other types than before ({first_line(error):.100})."
            ) from error

    def _check_embedded(self, source, table):
        """The embedded audio of a source is read by its row number, which must not have changed."""
        if source.name is None or not self.rows.num_rows:
            return
        mine = self.rows.filter(pyarrow.compute.equal(self.rows[SOURCE], source.name))
        numbers, keys = mine[NUMBER].to_numpy(), table[KEY].to_numpy()
        if len(numbers) and (numbers.max() >= len(keys) or (keys[numbers] != mine[KEY].to_numpy()).any()):
            raise CorpusError(f"{source.name} has other rows than before; give another output folder.")

    def write(self, path: Path) -> None:
        """Writes it as Parquet.

        Raises:
            DiskError: The file can't be written.
        """
        with replaced_file(path) as file:
            pyarrow.parquet.write_table(self.rows, file, compression="zstd")


def read_plan(path: Path) -> Plan:
    """The plan in a file; an empty one if there is none.

    Raises:
        CorpusError: The file is damaged.
    """
    if not path.exists():
        types = TYPES | {KEY: pyarrow.uint64(), SOURCE: pyarrow.string(), NUMBER: pyarrow.int64()}
        return Plan(pyarrow.schema(types | {SHARD: pyarrow.int32()}).empty_table())
    try:
        rows = pyarrow.parquet.read_table(path, partitioning=None)
        return Plan(rows.combine_chunks())
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        raise CorpusError(f"{path} is damaged ({first_line(error):.100}); give another output folder.") from error


def _with_keys(source):
    """The rows of a source with what the plan adds to them but the shard."""
    if wrong := RESERVED & set(source.rows.column_names):
        raise CorpusError(f"A table has a column named {min(wrong)}, which the output has too; rename it.")
    identity = source.rows.select(list(TYPES)).to_pandas()
    keys = pandas.util.hash_pandas_object(identity, index=False)
    occurrences = keys.groupby(keys).cumcount().to_numpy().astype(np.uint64)
    keys = keys.to_numpy() + occurrences * np.uint64(OCCURRENCE)
    count = source.rows.num_rows
    columns = {
        KEY: pyarrow.array(keys, pyarrow.uint64()),
        SOURCE: pyarrow.array([source.name] * count, pyarrow.string()),
        NUMBER: pyarrow.array(np.arange(count), pyarrow.int64()),
    }
    return pyarrow.table({name: source.rows[name] for name in source.rows.column_names} | columns)


def _cut(rows, first_shard, rows_per_shard):
    shards = first_shard + np.arange(rows.num_rows) // rows_per_shard
    return rows.append_column(SHARD, pyarrow.array(shards, pyarrow.int32())).combine_chunks()

"""Where the audio of a corpus comes from: files, tables of them and datasets, here or on a remote file system."""

import glob
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from ..hub.errors import first_line
from .errors import CorpusError
from .files import SUFFIXES, recordings_in

PATHS = ("path", "file_name")  # names of the column of paths; the second is that of audio folders of `datasets`
AUDIO = ("audio", "bytes")  # of the column of embedded audio: a struct of bytes and path as in `datasets`, or bytes
TYPES = {"path": pyarrow.string(), "start": pyarrow.float64(), "end": pyarrow.float64(), "id": pyarrow.string()}
DATASET = "hf://datasets/"  # how a repository of `datasets` is named, followed by user/name
READ_ERRORS = (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, ImportError)


@dataclass
class Source:
    """The rows of one input.

    Args:
        name: By which `source_of` opens it again; None for single files.
        rows: Its `path`, `start`, `end` and `id`, null where they are not given, and the columns that are carried
            along.
        audio: The embedded audio of a row, by its number; None if all audio is at the paths.
    """

    name: str | None
    rows: pyarrow.Table
    audio: Any = None


def sources_of(inputs: Iterable[str | os.PathLike], split: str | None = None) -> list[Source]:
    """The rows of files, folders, globs, tables (.csv, .parquet) and datasets, each local or of a URL.

    A dataset is a folder that `save_to_disk` wrote, or hf://datasets/USER/NAME. A file that is given twice counts once.

    Args:
        inputs: Paths and URLs.
        split: Of datasets that have several.

    Raises:
        CorpusError: One sentence: an input does not exist, holds no audio, or can't be read.
    """
    files, sources = {}, []
    for item in [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs:
        for path in _expanded(os.fspath(item)):
            source = source_of(path, split)
            if source is None:
                files[path] = None
            else:
                sources.append(source)
    paths = [path.encode("utf-8", "backslashreplace").decode() for path in files]  # a name may be anything
    return [*([Source(None, _completed({"path": pyarrow.array(paths, TYPES["path"])}))] if paths else []), *sources]


def source_of(name: str, split: str | None = None) -> Source | None:
    """A table or a dataset; None if it is neither, but an audio file."""
    suffix = posixpath.splitext(name)[1].lower()
    try:
        if _is_dataset(name):
            return _read_dataset(name, split)
        if suffix in (".csv", ".parquet"):
            return _read_csv(name) if suffix == ".csv" else _read_parquet(name)
    except CorpusError:
        raise
    except READ_ERRORS as error:
        raise CorpusError(f"{name} can't be read as a table of audio ({first_line(error):.200}).") from error
    return None


def is_remote(path: str) -> bool:
    """Whether it is a URL that fsspec reads."""
    return "://" in path


def read_remote(path: str) -> bytes:
    """The bytes of a file at a URL."""
    with fsspec.open(path, "rb") as file:
        return file.read()


def _expanded(item):
    """The files, tables and datasets that an input names."""
    if _is_dataset(item) or (not is_remote(item) and os.path.isfile(item)):
        return [item if is_remote(item) else os.path.abspath(item)]
    if is_remote(item):
        return _expanded_remote(item)
    if not os.path.exists(item) and glob.has_magic(item):
        paths = sorted(path for path in glob.glob(item, recursive=True) if os.path.isfile(path))
        if not paths:
            raise CorpusError(f"No file matches {item!r}; give another pattern, in quotes.")
        return [os.path.abspath(path) for path in paths]
    return recordings_in(item, strict=False)


def _expanded_remote(url):
    try:
        system, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(path):
            paths = sorted(system.glob(path))
        elif system.isdir(path):
            paths = sorted(each for each in system.find(path) if posixpath.splitext(each)[1].lower() in SUFFIXES)
        else:
            return [url]
    except (OSError, ValueError, ImportError) as error:
        raise CorpusError(f"{url} can't be listed ({first_line(error):.200}).") from error
    if not paths:
        raise CorpusError(f"{url} holds no audio files; give another folder or pattern.")
    return [system.unstrip_protocol(path) for path in paths]


def _is_dataset(name):
    if name.startswith(DATASET):
        return name.removeprefix(DATASET).strip("/").count("/") == 1
    return not is_remote(name) and any(Path(name, each).is_file() for each in ("state.json", "dataset_dict.json"))


def _read_dataset(name, split):
    if name.startswith(DATASET):
        dataset = datasets.load_dataset(name.removeprefix(DATASET).strip("/"), split=split)
    else:
        dataset = datasets.load_from_disk(name)
    if isinstance(dataset, datasets.DatasetDict):
        if split not in dataset and len(dataset) > 1:
            raise CorpusError(f"{name} has the splits {sorted(dataset)}; give one of them.")
        dataset = dataset[split or next(iter(dataset))]
    columns = [each for each, feature in dataset.features.items() if isinstance(feature, datasets.Audio)]
    if not columns:
        raise CorpusError(f"{name} has no column of audio, but {sorted(dataset.features)}; give another dataset.")
    dataset = dataset.cast_column(columns[0], datasets.Audio(decode=False))
    others = dataset.remove_columns(columns[0]).with_format("arrow")[:] if len(dataset.features) > 1 else None
    columns_of = {each: others[each] for each in others.column_names} if others is not None else {}
    paths = dataset.with_format("arrow").select_columns(columns[0])[:][columns[0]].combine_chunks().field("path")
    rows = _named(columns_of | {"path": paths}, name, "", embedded=True)
    return Source(name, rows, _DatasetAudio(dataset.select_columns(columns[0]), columns[0]))


def _read_csv(name):
    with fsspec.open(name, "rb") as file:
        types = TYPES | {"file_name": pyarrow.string()}
        table = pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    return Source(None, _named({each: table[each] for each in table.column_names}, name, posixpath.dirname(name)))


def _read_parquet(name):
    with fsspec.open(name, "rb") as file:
        parquet = pyarrow.parquet.ParquetFile(file)
        audio = next((each for each in AUDIO if each in parquet.schema_arrow.names), None)
        table = parquet.read([each for each in parquet.schema_arrow.names if each != audio])
        columns = {each: table[each] for each in table.column_names}
        if audio == "audio":
            columns.setdefault("path", parquet.read(["audio.path"])["audio"].combine_chunks().field("path"))
    if audio is None:
        return Source(None, _named(columns, name, posixpath.dirname(name)))
    columns.setdefault("path", pyarrow.nulls(table.num_rows or parquet.metadata.num_rows, TYPES["path"]))
    return Source(name, _named(columns, name, "", embedded=True), _ParquetAudio(name, audio))


def _named(columns, name, folder, embedded=False):
    """The columns of a table with the four of all sources; paths are completed by the folder of the table."""
    paths = next((each for each in PATHS if each in columns), None)
    if paths is None:
        raise CorpusError(f"{name} has the columns {sorted(columns)}; it needs one named path, bytes or audio.")
    values = columns.pop(paths).to_pylist()
    if embedded:
        values = [value or f"{name}#{number}" for number, value in enumerate(values)]
    elif None in values:
        raise CorpusError(f"{name} has no path in row {values.index(None)}; give one for each row.")
    else:
        values = [value if is_remote(value) else posixpath.join(folder, value) for value in values]
    return _completed(columns | {"path": pyarrow.array(values, TYPES["path"])})


def _completed(columns):
    count = len(columns["path"])
    given = {each: columns.pop(each).cast(TYPES[each]) if each in columns else None for each in TYPES}
    known = {each: pyarrow.nulls(count, TYPES[each]) if value is None else value for each, value in given.items()}
    return pyarrow.table(known | columns)


class _DatasetAudio:
    """The audio of a dataset: bytes, or the path of a file."""

    def __init__(self, dataset, column):
        self.dataset, self.column = dataset, column

    def __call__(self, number: int) -> bytes | str:
        audio = self.dataset[number][self.column]
        return audio["path"] if audio["bytes"] is None else audio["bytes"]


class _ParquetAudio:
    """The audio of a Parquet file, read row group by row group."""

    def __init__(self, name, column):
        self.name, self.column = name, column

    def __call__(self, number: int) -> bytes | str:
        first, column = _row_group(self.name, self.column, number)
        audio = column[number - first].as_py()
        if isinstance(audio, dict):
            return audio["path"] if audio["bytes"] is None else audio["bytes"]
        return audio


def _row_group(name, column, number):
    """The row group that holds a row: its first row, and its column."""
    starts = _row_group_starts(name)
    group = next(index for index, start in enumerate(starts[1:]) if number < start)
    return starts[group], _read_row_group(name, column, group)


@lru_cache(maxsize=8)
def _row_group_starts(name):
    with fsspec.open(name, "rb") as file:
        metadata = pyarrow.parquet.ParquetFile(file).metadata
        starts = [0]
        for group in range(metadata.num_row_groups):
            starts.append(starts[-1] + metadata.row_group(group).num_rows)
        return starts


@lru_cache(maxsize=1)
def _read_row_group(name, column, group):
    with fsspec.open(name, "rb") as file:
        return pyarrow.parquet.ParquetFile(file).read_row_group(group, columns=[column])[column]

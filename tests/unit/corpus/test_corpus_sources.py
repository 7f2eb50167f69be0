"""Where audio comes from: files, folders, globs, tables, datasets, URLs."""

import datasets
import fsspec
import pyarrow.parquet
import pytest

from helpers.corpora import as_rows, corpus_model, write_corpus
from modeling_audio_branch.corpus import embed_corpus
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.sources import sources_of


@pytest.fixture
def files(tmp_path):
    return write_corpus(tmp_path / "corpus", 5)


def paths_of(*inputs, **options):
    return [path for source in sources_of(inputs, **options) for path in source.rows["path"].to_pylist()]


def test_files_folders_and_globs_are_named_once(files, tmp_path, monkeypatch):
    assert paths_of(tmp_path / "corpus") == files
    assert paths_of(files[1], tmp_path / "corpus", files[1]) == [files[1], *(f for f in files if f != files[1])]
    assert paths_of(f"{tmp_path}/*/*.wav") == [path for path in files if path.endswith(".wav")]
    assert paths_of(f"{tmp_path}/**/*_000[12].*") == files[1:3]
    monkeypatch.chdir(tmp_path)
    assert paths_of("corpus") == files
    with pytest.raises(CorpusError, match="No file matches"):
        sources_of("corpus/*.mp3")
    with pytest.raises(CorpusError, match="is neither a file nor a folder"):
        sources_of("nowhere")


def test_a_name_that_is_not_utf_8_does_not_stop_the_others(files, tmp_path):
    try:
        (tmp_path / "corpus" / "\udcff.wav").write_bytes(b"")
    except OSError:
        return  # this file system has no such names
    assert paths_of(tmp_path / "corpus")[-1].endswith("\\udcff.wav")
    embed_corpus(tmp_path / "corpus", tmp_path / "out", corpus_model(), workers=0)
    assert len(as_rows(tmp_path / "out")) == 5
    assert pyarrow.parquet.read_table(tmp_path / "out" / "errors.parquet").num_rows == 1


@pytest.mark.parametrize("name", ["path", "file_name"])
def test_a_csv_names_files_relative_to_itself_and_its_columns_are_carried(files, tmp_path, name):
    (tmp_path / "table.csv").write_text(f"label,{name},id\n1,corpus/clip_0000.wav,007\n2,{files[1]},\n")
    (source,) = sources_of(tmp_path / "table.csv")
    assert source.rows.to_pylist() == [
        {"path": files[0], "start": None, "end": None, "id": "007", "label": 1},
        {"path": files[1], "start": None, "end": None, "id": "", "label": 2},
    ]
    (tmp_path / "wrong.csv").write_text("file,label\na.wav,1\n")
    with pytest.raises(
        CorpusError, match="has the columns \\['file', 'label'\\]; it needs one named path, bytes or audio"
    ):
        sources_of(tmp_path / "wrong.csv")
    (tmp_path / "wrong.csv").write_text("path,start\na.wav,soon\n")
    with pytest.raises(CorpusError, match="wrong.csv can't be read as a table of audio"):
        sources_of(tmp_path / "wrong.csv")


def embedded(files, kind, folder):
    """An input that holds the audio of files itself."""
    data = [open(path, "rb").read() for path in files]
    labels = list("abcde")
    if kind == "bytes":
        table = pyarrow.table({"bytes": data, "label": labels})
        pyarrow.parquet.write_table(table, folder / "table.parquet", row_group_size=2)
        return folder / "table.parquet"
    audio = [{"bytes": each, "path": f"{number}.x"} for number, each in enumerate(data)]
    if kind == "audio":
        table = pyarrow.table({"label": labels, "audio": audio})
        pyarrow.parquet.write_table(table, folder / "table.parquet", row_group_size=3)
        return folder / "table.parquet"
    dataset = datasets.Dataset.from_dict({"speech": audio, "label": labels}).cast_column("speech", datasets.Audio())
    if kind == "splits":
        dataset = datasets.DatasetDict({"train": dataset, "test": dataset.select([0])})
    dataset.save_to_disk(folder / "dataset")
    return folder / "dataset"


@pytest.mark.parametrize("kind", ["bytes", "audio", "dataset", "splits"])
@pytest.mark.parametrize("workers", [0, 2])
def test_embedded_audio_gives_the_rows_of_the_files(files, tmp_path, kind, workers):
    model = corpus_model()
    embed_corpus(files, tmp_path / "expected", model, workers=0)
    expected = {row["id"]: row for row in as_rows(tmp_path / "expected").values()}
    options = {"split": "train"} if kind == "splits" else {}
    source = embedded(files, kind, tmp_path)
    embed_corpus(source, tmp_path / "out", model, workers=workers, rows_per_shard=2, **options)
    rows = as_rows(tmp_path / "out")
    assert [row["label"] for row in rows.values()] == list("abcde")
    assert [row["id"] for row in rows.values()] == [expected_id for expected_id in expected]
    for row in rows.values():
        assert row["segment_features"] == pytest.approx(expected[row["id"]]["segment_features"], abs=1e-5)
    paths = [f"{number}.x" for number in range(5)]
    assert list(rows) == ([f"{source}#{number}" for number in range(5)] if kind == "bytes" else paths)
    if kind == "splits":
        with pytest.raises(CorpusError, match="has the splits \\['test', 'train'\\]; give one of them"):
            sources_of(source)


def test_embedded_audio_that_was_replaced_is_refused(files, tmp_path):
    model, source = corpus_model(), embedded(files, "audio", tmp_path)
    embed_corpus(source, tmp_path / "out", model, workers=0, rows_per_shard=2)
    table = pyarrow.parquet.read_table(source)
    pyarrow.parquet.write_table(table.slice(1), source)
    with pytest.raises(CorpusError, match="has other rows than before"):
        embed_corpus(source, tmp_path / "out", model, workers=0)


def test_urls_are_read_by_fsspec(files, tmp_path):
    memory = fsspec.filesystem("memory")
    for path in files:
        memory.pipe(f"/speech/{path.rsplit('/', 1)[1]}", open(path, "rb").read())
    memory.pipe("/speech/table.csv", b"path\nclip_0002.ogg\n")
    urls = [f"memory:///speech/{path.rsplit('/', 1)[1]}" for path in files]
    assert [url.replace(":///", "://") for url in paths_of("memory://speech")] == [
        url.replace(":///", "://") for url in urls
    ]
    assert len(paths_of("memory://speech/*.wav")) == 2
    assert paths_of("memory://speech/table.csv") == ["memory://speech/clip_0002.ogg"]
    model = corpus_model()
    embed_corpus("memory://speech", tmp_path / "out", model, workers=0)
    embed_corpus(files, tmp_path / "expected", model, workers=0)
    ids = [[row["id"] for row in as_rows(tmp_path / each).values()] for each in ("out", "expected")]
    assert ids[0] == ids[1]
    with pytest.raises(CorpusError, match="nosuch://speech can't be listed"):
        sources_of("nosuch://speech")

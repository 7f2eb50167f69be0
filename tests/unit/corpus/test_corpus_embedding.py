"""A corpus to a table of features: every file exactly once, whatever happens to the process."""

import os
import random
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.corpora import as_rows, assert_equal_rows, corpus_model, embed_and_kill, metadata_of, write_corpus
from helpers.full_disk import full_disk
from helpers.recordings import RATE
from modeling_audio_branch.corpus import FeatureFormat, embed_corpus
from modeling_audio_branch.corpus import embedding as embedding_module
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.features import shard_paths
from modeling_audio_branch.disk import DiskError

GOOD, BROKEN = 23, 4


@pytest.fixture(scope="module")
def model():
    return corpus_model()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, GOOD, BROKEN)
    return folder


@pytest.fixture(scope="module")
def expected(corpus, model, tmp_path_factory):
    """The rows of one call without workers, each file a batch of its own."""
    out = tmp_path_factory.mktemp("expected") / "out"
    embed_corpus(corpus, out, model, workers=0, batch_seconds=0.01)
    return as_rows(out)


def errors_of(out):
    return pyarrow.parquet.read_table(out / "errors.parquet").to_pylist()


def test_each_row_holds_what_encode_says_of_the_file_alone(corpus, expected, model):
    assert len(expected) == GOOD
    for path, row in expected.items():
        alone = model.encode(path)
        np.testing.assert_allclose(row["segment_features"], alone.segment_features, atol=1e-5, rtol=0)
        np.testing.assert_allclose(row["segment_times"], alone.segment_times, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(row["segment_mask"], alone.segment_mask.bool())
        seconds = soundfile.info(path).duration
        assert row["start"] == 0 and row["end"] == row["seconds"] == pytest.approx(seconds, abs=1e-3)
        assert len(row["id"]) == 64


@given(
    batch_seconds=st.floats(0.1, 30),
    rows_per_shard=st.integers(1, 40),
    parts=st.integers(1, 3),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=8)
def test_the_rows_depend_neither_on_batches_nor_on_shards_nor_on_who_does_them(
    batch_seconds, rows_per_shard, parts, order, corpus, expected, model, tmp_path_factory
):
    out = tmp_path_factory.mktemp("any") / "out"
    indices = list(range(parts))
    order.shuffle(indices)
    for index in indices:
        options = {"batch_seconds": batch_seconds, "rows_per_shard": rows_per_shard, "workers": 0}
        result = embed_corpus(corpus, out, model, part=(index, parts), **options)
        assert result.shards_left == 0
    assert_equal_rows(expected, as_rows(out))
    assert len(errors_of(out)) == BROKEN


def test_worker_processes_give_the_same_rows(corpus, expected, model, tmp_path):
    result = embed_corpus(corpus, tmp_path / "out", model, workers=2, rows_per_shard=5)
    assert_equal_rows(expected, as_rows(tmp_path / "out"))
    assert (result.rows, result.failures, result.shards_left) == (GOOD + BROKEN, BROKEN, 0)
    assert result.seconds == pytest.approx(sum(row["seconds"] for row in expected.values()), rel=1e-3)


def test_errors_are_listed_once_with_a_sentence_and_can_be_tried_again(corpus, model, tmp_path):
    files = shutil.copytree(corpus, tmp_path / "corpus")
    for _ in range(2):
        embed_corpus(files, tmp_path / "out", model, workers=0, rows_per_shard=6)
        errors = errors_of(tmp_path / "out")
        assert sorted(Path(each["path"]).name for each in errors) == [f"broken_{n:04d}.wav" for n in range(BROKEN)]
        assert all(each["path"] in each["sentence"] and each["sentence"].endswith(".") for each in errors)
    for path in files.glob("broken_*"):
        shutil.copy(next(files.glob("clip_*.wav")), path)
    assert embed_corpus(files, tmp_path / "out", model, workers=0).rows == 0
    assert embed_corpus(files, tmp_path / "out", model, workers=0, retry_errors=True).failures == 0
    assert not (tmp_path / "out" / "errors.parquet").exists()
    assert len(as_rows(tmp_path / "out")) == GOOD + BROKEN


def test_new_files_are_added_and_those_that_are_gone_stay(corpus, expected, model, tmp_path):
    files = shutil.copytree(corpus, tmp_path / "corpus")
    first = sorted(files.glob("clip_*"))[:5]
    embed_corpus(first, tmp_path / "out", model, workers=0, rows_per_shard=2)
    before = {path: path.read_bytes() for path in shard_paths(tmp_path / "out")}
    first[0].unlink()
    result = embed_corpus(files, tmp_path / "out", model, workers=0, rows_per_shard=3)
    assert result.rows == GOOD + BROKEN - 5
    assert len(as_rows(tmp_path / "out")) == GOOD
    assert all(path.read_bytes() == value for path, value in before.items())


def test_other_models_and_settings_are_refused(corpus, model, tmp_path):
    files, out = sorted(corpus.glob("clip_*"))[:2], tmp_path / "out"
    embed_corpus(files, out, model, workers=0)
    with pytest.raises(CorpusError, match="holds features with model=None, not None; give that, or another folder"):
        embed_corpus(files, out, corpus_model(seed=1), workers=0)
    with pytest.raises(CorpusError, match="with dtype='float32', not 'float16'"):
        embed_corpus(files, out, model, FeatureFormat("float16"), workers=0)
    with pytest.raises(CorpusError, match="with sequence_embedding=False, not True"):
        embed_corpus(files, out, model, FeatureFormat(sequence_embedding=True), workers=0)
    about = metadata_of(shard_paths(out)[0])
    assert about["dtype"] == "float32" and about["versions"].keys() >= {"torch", "transformers", "python"}
    assert about["fingerprint"] and about["shape"] == [8, model.config.feature_dim]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(CorpusError, match="other exists and holds no features"):
        embed_corpus(files, tmp_path / "other", model, workers=0)
    for wrong in ((2, 2), (-1, 2), (0, 0), (0, True)):
        with pytest.raises(CorpusError, match="give \\(I, N\\)"):
            embed_corpus(files, out, model, part=wrong)
    with pytest.raises(CorpusError, match="rows_per_shard=0"):
        embed_corpus(files, out, model, rows_per_shard=0)


def test_a_killed_job_goes_on_and_has_every_file_exactly_once(corpus, expected, tmp_path):
    """`benchmarks.interrupted_corpus` kills it 50 times over thousands of real recordings."""
    generator, kills = random.Random(0), 0
    options = {"workers": 2, "rows_per_shard": 1, "batch_seconds": 0.1}
    for _ in range(8):
        kills += embed_and_kill([corpus], tmp_path / "out", generator, longest=0.3, **options)
    assert kills >= 2
    embed_corpus([corpus], tmp_path / "out", corpus_model(), workers=0, rows_per_shard=2)
    assert_equal_rows(expected, as_rows(tmp_path / "out"))
    assert len(errors_of(tmp_path / "out")) == BROKEN
    assert not list((tmp_path / "out").rglob(".writing*"))


def test_ctrl_c_ends_after_the_current_batch_and_keeps_the_shards_before(
    corpus, expected, model, tmp_path, monkeypatch
):
    done = []

    class Progress(embedding_module.JobProgress):
        def advance(self, rows, seconds, failures):
            super().advance(rows, seconds, failures)
            done.append(rows)
            if len(done) == 7:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(embedding_module, "JobProgress", Progress)
    result = embed_corpus(corpus, tmp_path / "out", model, workers=0, rows_per_shard=5, batch_seconds=0.01)
    assert result.was_stopped and result.rows == 7 and result.shards_left == 5
    assert len(shard_paths(tmp_path / "out")) == 1
    monkeypatch.undo()
    assert not embed_corpus(corpus, tmp_path / "out", model, workers=0).was_stopped
    assert_equal_rows(expected, as_rows(tmp_path / "out"))


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(corpus, expected, model, tmp_path):
    out = tmp_path / "out"
    embed_corpus(sorted(corpus.glob("clip_*"))[:4], out, model, workers=0)
    before = sorted(path.relative_to(out) for path in out.rglob("*"))
    with full_disk(12_000), pytest.raises(DiskError, match="features-000001.parquet cannot be written"):
        embed_corpus(corpus, out, model, workers=0)
    assert {path for path in before} <= {path.relative_to(out) for path in out.rglob("*")}
    assert not list(out.rglob(".writing*"))
    embed_corpus(corpus, out, model, workers=0)
    assert_equal_rows(expected, as_rows(out))


def test_a_folder_that_can_not_be_written_is_a_sentence(corpus, model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((CorpusError, DiskError), match="file"):
        embed_corpus(corpus, tmp_path / "file" / "out", model, workers=0)


def test_only_one_process_does_a_part(corpus, model, tmp_path):
    job = embedding_module.CorpusFolder(tmp_path / "out")
    embed_corpus(sorted(corpus.glob("clip_*"))[:2], tmp_path / "out", model, workers=0)
    with job.locked("0-of-1"), pytest.raises(CorpusError, match="Another process writes to"):
        embed_corpus(corpus, tmp_path / "out", model, workers=0)


def test_a_damaged_shard_is_named(corpus, model, tmp_path):
    files = sorted(corpus.glob("clip_*"))[:2]
    embed_corpus(files, tmp_path / "out", model, workers=0)
    shard_paths(tmp_path / "out")[0].write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match="features-000000.parquet is damaged .*; delete it"):
        embed_corpus(files, tmp_path / "out", model, workers=0)
    shard_paths(tmp_path / "out")[0].unlink()
    embed_corpus(files, tmp_path / "out", model, workers=0)
    assert len(as_rows(tmp_path / "out")) == 2


def test_a_row_of_a_table_is_embedded_as_the_clip_that_it_cuts_out(corpus, model, tmp_path):
    path = str(next(iter(sorted(corpus.glob("clip_*.wav")))))
    (tmp_path / "table.csv").write_text(
        f"path,start,end,id,label\n{path},0.05,0.15,first,a\n{path},,,second,b\n{path},0.1,,,c\n{path},3,4,late,d\n"
    )
    embed_corpus(tmp_path / "table.csv", tmp_path / "out", model, FeatureFormat(sequence_embedding=True), workers=0)
    table = rows_in(tmp_path / "out")
    assert [row["label"] for row in table] == ["a", "b", "c"]
    assert [row["id"] for row in table[:2]] == ["first", "second"] and len(table[2]["id"]) == 64
    assert errors_of(tmp_path / "out")[0]["sentence"].startswith(
        "start=3.0 and end=4.0 s were given, but the recording has"
    )
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == RATE
    samples = samples.mean(1)
    for row, (start, end) in zip(table, [(0.05, 0.15), (0, None), (0.1, None)], strict=True):
        part = samples[round(start * rate) : None if end is None else round(end * rate)]
        alone = model.encode(part, rate)
        np.testing.assert_allclose(row["segment_features"], alone.segment_features, atol=1e-5, rtol=0)
        np.testing.assert_allclose(row["segment_times"], alone.segment_times + start, atol=1e-5, rtol=0)
        np.testing.assert_allclose(row["sequence_embedding"], alone.sequence_embedding, atol=1e-5, rtol=0)
        assert row["start"] == start and row["end"] == pytest.approx(end or len(samples) / rate, abs=1e-4)


def rows_in(out):
    return pyarrow.parquet.read_table(shard_paths(out)[0]).to_pylist()


def test_long_files_are_read_block_by_block(model, tmp_path, monkeypatch):
    (path,) = write_corpus(tmp_path / "corpus", 1, seconds=(4, 5))
    expected = model.encode(path)
    monkeypatch.setattr("modeling_audio_branch.encoding.LONG_FILE_SECONDS", 2)
    monkeypatch.setattr("modeling_audio_branch.corpus.decoding.LONG_FILE_SECONDS", 2)
    loaded = []
    monkeypatch.setattr("modeling_audio_branch.corpus.decoding.load_audio", lambda *each: loaded.append(each))
    embed_corpus(path, tmp_path / "out", model, workers=0)
    assert not loaded
    np.testing.assert_allclose(
        as_rows(tmp_path / "out")[path]["segment_features"], expected.segment_features, atol=1e-5
    )


def test_it_can_run_beside_the_main_thread(corpus, model, tmp_path):
    files, results = sorted(corpus.glob("clip_*"))[:2], []
    work = lambda: results.append(embed_corpus(files, tmp_path / "out", model, workers=0))  # noqa: E731
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].rows == 2

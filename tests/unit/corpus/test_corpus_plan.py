"""The plan of a job: which rows are in which shard."""

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.plan import read_plan
from modeling_audio_branch.corpus.sources import TYPES, Source


def source(paths, name=None, **columns):
    count = len(paths)
    rows = {each: pyarrow.nulls(count, kind) for each, kind in TYPES.items()}
    return Source(name, pyarrow.table(rows | {"path": pyarrow.array(paths, pyarrow.string())} | columns))


@pytest.fixture
def empty(tmp_path):
    return read_plan(tmp_path / "missing.parquet")


@given(
    calls=st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=1, max_size=4), size=st.integers(1, 5)
)
def test_a_row_keeps_its_shard_whatever_is_added(calls, size, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.parquet"
    plan, expected = read_plan(path), []
    for paths in calls:
        before = plan.rows.to_pylist()
        plan = plan.grown([source(paths)], size)
        plan.write(path)
        plan = read_plan(path)
        expected += [each for each in paths if each not in expected]
        assert plan.rows["path"].to_pylist() == expected
        assert plan.rows.to_pylist()[: len(before)] == before
        rows = [list(plan.rows_of(shard)) for shard in range(plan.num_shards)]
        assert sum(rows, []) == list(range(len(expected))) and all(1 <= len(each) <= size for each in rows)


def test_equal_rows_of_a_table_are_rows_each(empty):
    plan = empty.grown([source(["a", "a", "b"], label=pyarrow.array([1, 2, 3]))], 10)
    assert plan.rows["label"].to_pylist() == [1, 2, 3] and plan.carried == ["label"]
    again = plan.grown([source(["a", "a", "a", "b"], label=pyarrow.array([1, 2, 4, 3]))], 10)
    assert again.rows["label"].to_pylist() == [1, 2, 3, 4]


def test_tables_that_do_not_fit_are_refused(empty, tmp_path):
    with pytest.raises(CorpusError, match="has a column named segment_features, which the output has too; rename it"):
        empty.grown([source(["a"], segment_features=pyarrow.array([1]))], 10)
    plan = empty.grown([source(["a"], label=pyarrow.array([1]))], 10)
    with pytest.raises(CorpusError, match=r"other columns than when the output was begun \(label\)"):
        plan.grown([source(["b"])], 10)
    with pytest.raises(CorpusError, match="columns of other types than before"):
        plan.grown([source(["b"], label=pyarrow.array(["one"]))], 10)
    with pytest.raises(CorpusError, match="The tables differ in the type of a column"):
        empty.grown([source(["a"], label=pyarrow.array([1])), source(["b"], label=pyarrow.array(["one"]))], 10)
    plan = empty.grown([source(["x", "y"], name="table")], 10)
    with pytest.raises(CorpusError, match="table has other rows than before"):
        plan.grown([source(["y", "x"], name="table")], 10)
    (tmp_path / "plan.parquet").write_bytes(b"nothing")
    with pytest.raises(CorpusError, match="plan.parquet is damaged"):
        read_plan(tmp_path / "plan.parquet")


def test_columns_of_several_tables_are_united(empty):
    plan = empty.grown([source(["a"], label=pyarrow.array([1])), source(["b"])], 10)
    assert plan.rows["label"].to_pylist() == [1, None]

"""The table of features on disk."""

import numpy as np
import pyarrow
import pytest

from helpers.corpora import corpus_model, write_corpus
from modeling_audio_branch.corpus import FeatureFormat, as_array, embed_corpus, read_features
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.features import failures_of, read_shard, shard_paths


@pytest.mark.parametrize(
    "dtype, kind", [("float32", "float"), ("float16", "halffloat"), ("int8", "int8"), ("binary", "uint8")]
)
def test_features_are_fixed_size_lists_of_their_type(dtype, kind, tmp_path):
    model = corpus_model()
    write_corpus(tmp_path / "corpus", 3)
    embed_corpus(tmp_path / "corpus", tmp_path / "out", model, FeatureFormat(dtype), workers=0, rows_per_shard=2)
    table = read_features(tmp_path / "out")
    width = model.config.feature_dim // (8 if dtype == "binary" else 1)
    assert str(table.schema.field("segment_features").type.value_type.value_type) == kind
    assert as_array(table["segment_features"]).shape == (3, 8, width)
    assert as_array(table["segment_times"]).shape == (3, 8, 2)
    assert table.column_names[:5] == ["id", "path", "start", "end", "seconds"]


def test_a_shard_without_good_files_has_the_same_columns(tmp_path):
    write_corpus(tmp_path / "corpus", 1, broken=2)
    embed_corpus(tmp_path / "corpus", tmp_path / "out", corpus_model(), workers=0, rows_per_shard=1)
    tables = [read_shard(path) for path in shard_paths(tmp_path / "out")]
    assert sorted(table.num_rows for table in tables) == [0, 0, 1]
    assert tables[0].schema.equals(tables[1].schema) and tables[1].schema.equals(tables[2].schema)
    assert sorted(len(failures_of(path)) for path in shard_paths(tmp_path / "out")) == [0, 1, 1]


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="holds no features; give the output folder"):
        read_features(tmp_path)


def test_arrays_of_parts_of_a_table_are_those_rows():
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    flat = pyarrow.array(values.reshape(-1))
    nested = pyarrow.FixedSizeListArray.from_arrays(pyarrow.FixedSizeListArray.from_arrays(flat, 2), 3)
    table = pyarrow.concat_tables([pyarrow.table({"x": nested}), pyarrow.table({"x": nested})])
    np.testing.assert_array_equal(as_array(table["x"]), np.concatenate([values, values]))
    np.testing.assert_array_equal(as_array(table["x"].slice(3, 3)), np.concatenate([values, values])[3:6])

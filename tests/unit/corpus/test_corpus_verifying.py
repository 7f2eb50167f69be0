"""Random rows computed again: what is right, and what is found to be wrong."""

import pyarrow.parquet
import pytest
import soundfile

from helpers.corpora import corpus_model, write_corpus
from helpers.recordings import RATE
from modeling_audio_branch.corpus import FeatureFormat, embed_corpus, fit_rotation, save_rotation, verify_features
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.features import as_array, read_features, shard_paths


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
def test_features_of_unchanged_files_are_right(dtype, tmp_path):
    files = write_corpus(tmp_path / "corpus", 12, broken=2)
    embed_corpus(
        tmp_path / "corpus", tmp_path / "out", corpus_model(), FeatureFormat(dtype), workers=0, rows_per_shard=5
    )
    result = verify_features(tmp_path / "out", corpus_model(), sample=100)
    assert result.is_right and result.rows == len(files) and result.changed == []
    assert verify_features(tmp_path / "out", corpus_model(), sample=3).rows <= 3


def test_a_changed_file_and_a_changed_number_are_found(tmp_path):
    files = write_corpus(tmp_path / "corpus", 4)
    embed_corpus(tmp_path / "corpus", tmp_path / "out", corpus_model(), workers=0, rows_per_shard=4)
    (path,) = shard_paths(tmp_path / "out")
    table = pyarrow.parquet.read_table(path)
    reversed_features = table["segment_features"].combine_chunks().take([1, 0, 2, 3])
    number = table.column_names.index("segment_features")
    pyarrow.parquet.write_table(table.set_column(number, table.schema.field(number), reversed_features), path)
    result = verify_features(tmp_path / "out", corpus_model())
    assert not result.is_right and result.difference > 1e-3 and not result.changed
    soundfile.write(files[0], [0.1, 0.2] * 4000, RATE)
    assert verify_features(tmp_path / "out", corpus_model()).changed == [files[0]]


def test_a_folder_of_a_checkpoint_is_found_again_and_another_model_is_refused(tmp_path):
    write_corpus(tmp_path / "corpus", 4)
    model = corpus_model()
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(CorpusError, match="dim=8 needs a rotation.safetensors in the model's folder"):
        embed_corpus(tmp_path / "corpus", tmp_path / "out", tmp_path / "model", FeatureFormat("int8", 8))
    embed_corpus(tmp_path / "corpus", tmp_path / "whole", tmp_path / "model", workers=0)
    save_rotation(fit_rotation(features_in(tmp_path / "whole")), tmp_path / "model")
    embed_corpus(tmp_path / "corpus", tmp_path / "out", tmp_path / "model", FeatureFormat("int8", 8), workers=0)
    assert verify_features(tmp_path / "out").is_right
    assert read_features(tmp_path / "out").schema.field("segment_features").type.value_type.list_size == 8
    with pytest.raises(CorpusError, match="holds features with model="):
        verify_features(tmp_path / "whole", corpus_model(seed=1))
    with pytest.raises(CorpusError, match="holds no features"):
        verify_features(tmp_path / "nothing")


def features_in(folder):
    import torch

    return torch.from_numpy(as_array(read_features(folder)["segment_features"]).copy())

"""The loop over a shard: batches by their samples, exactness for encoders that look at the padding."""

import pytest

from helpers.corpora import as_rows, corpus_model, write_corpus
from helpers.encoders import DEPENDENT, make
from modeling_audio_branch.corpus import embed_corpus


def test_a_batch_holds_at_most_so_many_seconds(tmp_path, monkeypatch):
    model, sizes = corpus_model(), []
    write_corpus(tmp_path / "corpus", 30)
    forward = type(model).forward

    def counted(self, input_values, *rest, **options):
        sizes.append(input_values.shape)
        return forward(self, input_values, *rest, **options)

    monkeypatch.setattr(type(model), "forward", counted)
    embed_corpus(tmp_path / "corpus", tmp_path / "out", model, workers=0, batch_seconds=2.0)
    assert sum(size[0] for size in sizes) == 30 and 5 < len(sizes) < 20
    assert all(size[0] * size[1] <= 2 * model.config.sample_rate for size in sizes)


@pytest.mark.parametrize("name", sorted(DEPENDENT)[:2])
def test_an_encoder_that_looks_at_the_padding_gets_none(name, tmp_path):
    model = make(name).eval()
    paths = write_corpus(tmp_path / "corpus", 6)
    embed_corpus(tmp_path / "corpus", tmp_path / "out", model, workers=0)
    for path, row in as_rows(tmp_path / "out").items():
        assert row["segment_features"] == pytest.approx(model.encode(path).segment_features.numpy(), abs=1e-5)
    assert len(as_rows(tmp_path / "out")) == len(paths)

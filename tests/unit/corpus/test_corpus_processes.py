"""Several processes embed the shards: the same rows; what happens to one of them is told in a sentence."""

import os
import signal
import threading
import time

import psutil
import pytest
import torch

from helpers.corpora import as_rows, assert_equal_rows, corpus_model, write_corpus
from helpers.full_disk import full_disk
from modeling_audio_branch.corpus import embed_corpus
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.features import shard_paths
from modeling_audio_branch.disk import DiskError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 40, broken=3)
    return folder


@pytest.mark.parametrize("workers", [2, 3])
def test_processes_give_the_rows_of_one_process(corpus, tmp_path, workers):
    threads = torch.get_num_threads()
    embed_corpus(corpus, tmp_path / "expected", corpus_model(), workers=0)
    result = embed_corpus(corpus, tmp_path / "out", corpus_model(), workers=workers, rows_per_shard=5)
    assert (result.rows, result.failures, result.shards_left) == (43, 3, 0)
    assert_equal_rows(as_rows(tmp_path / "expected"), as_rows(tmp_path / "out"))
    assert torch.get_num_threads() == threads


def test_a_full_disk_is_a_sentence(corpus, tmp_path):
    embed_corpus(corpus, tmp_path / "out", corpus_model(), workers=0, part=(0, 9), rows_per_shard=5)
    with full_disk(4_000), pytest.raises(DiskError, match="features-.* cannot be written"):
        embed_corpus(corpus, tmp_path / "out", corpus_model(), workers=2)
    assert not list((tmp_path / "out").rglob(".writing*"))


def test_a_process_that_is_killed_is_a_sentence_and_the_job_goes_on(corpus, tmp_path):
    def kill():
        while not shard_paths(tmp_path / "out"):
            time.sleep(0.01)
        for each in psutil.Process().children():
            if each.name().startswith(("python", "pytest")):
                each.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(CorpusError, match="A process was killed, perhaps for its memory; give the same command again"):
        embed_corpus(corpus, tmp_path / "out", corpus_model(), workers=2, rows_per_shard=1, batch_seconds=0.1)
    killer.join()
    embed_corpus(corpus, tmp_path / "out", corpus_model(), workers=2)
    assert len(as_rows(tmp_path / "out")) == 40
    assert os.listdir(tmp_path / "out" / ".embed" / "0-of-1") == []

"""Ray Data runs the same shards: the same rows, also when an actor dies."""

import signal
import threading
import time

import psutil
import pytest
import ray

from helpers.corpora import as_rows, assert_equal_rows, corpus_model, write_corpus
from modeling_audio_branch.corpus import RaySettings, embed_corpus
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.features import shard_paths


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 40, broken=3)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """A local Ray of two cores, shared by the tests of this file."""
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def kill_an_actor(out, killed):
    """Kills a process that holds the model as soon as the first shard is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not killed:
        actors = [
            each for each in psutil.process_iter(["cmdline"]) if "ShardEmbedder" in " ".join(each.info["cmdline"] or [])
        ]
        if actors and shard_paths(out):
            actors[0].send_signal(signal.SIGKILL)
            killed.append(actors[0].pid)
        time.sleep(0.02)


@pytest.mark.parametrize("is_killed", [False, True])
def test_two_actors_give_the_rows_of_one_process(corpus, cluster, tmp_path, is_killed):
    model = corpus_model()
    embed_corpus(corpus, tmp_path / "expected", model, workers=0)
    killed = []
    killer = threading.Thread(target=kill_an_actor, args=(tmp_path / "out", killed))
    if is_killed:
        killer.start()
    result = embed_corpus(corpus, tmp_path / "out", model, rows_per_shard=1, ray=RaySettings(actors=2))
    if is_killed:
        killer.join()
        assert killed
    assert result.shards_left == 0 and result.failures == 3
    assert_equal_rows(as_rows(tmp_path / "expected"), as_rows(tmp_path / "out"))


def test_an_error_of_an_actor_is_one_sentence(corpus, cluster, tmp_path):
    model = corpus_model()
    embed_corpus(sorted(corpus.glob("clip*"))[:1], tmp_path / "out", model, workers=0)
    (tmp_path / "out" / ".embed" / "0-of-1").rmdir()
    (tmp_path / "out" / ".embed" / "0-of-1").write_text("in the way")
    with pytest.raises(CorpusError, match="features-000001.parquet cannot be written"):
        embed_corpus(corpus, tmp_path / "out", model, ray=RaySettings(actors=1))

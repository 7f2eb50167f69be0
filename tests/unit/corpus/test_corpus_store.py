"""Recordings on disk: a Parquet file for each, whole or not at all."""

import json
import os

import pyarrow.parquet
import pytest
import torch

from helpers.full_disk import full_disk
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.store import Recording, RecordingStore, file_state, hash_of
from modeling_audio_branch.disk import DiskError


@pytest.fixture
def store(tmp_path):
    return RecordingStore(tmp_path / "recordings", "fingerprint")


def recording(file="/a.wav", num_frames=5, **changes):
    return Recording(
        **{"file": file, "sha256": "0", "size": 1, "modified_ns": 2, "seconds": 0.45} | changes, num_frames=num_frames
    )


def some_frames(num_frames=5, seed=0):
    return torch.randint(-127, 128, (num_frames, 4), generator=torch.Generator().manual_seed(seed)).to(torch.int8)


def test_recordings_are_written_found_read_replaced_and_removed(store):
    assert store.recordings() == [] and store.find("/a.wav") is None and store.state() == ()
    store.write(recording("/b.wav"), some_frames(), 0.1)
    store.write(recording("/a.wav"), some_frames(seed=1), 0.1)
    before = store.state()
    assert [each.file for each in store.recordings()] == ["/a.wav", "/b.wav"]
    assert torch.equal(store.frames(store.find("/a.wav")), some_frames(seed=1))
    store.write(recording("/a.wav", 7), some_frames(7), 0.1)
    assert store.find("/a.wav").num_frames == 7 and store.state() != before
    store.update(recording("/a.wav", 7, size=9))
    assert store.find("/a.wav").size == 9 and torch.equal(store.frames(store.find("/a.wav")), some_frames(7))
    store.remove("/a.wav")
    assert [each.file for each in store.recordings()] == ["/b.wav"]


def test_anybody_can_read_the_table(store):
    store.write(recording(), some_frames(), 0.1)
    table = pyarrow.parquet.read_table(store.path_of("/a.wav"))
    assert table.column_names == ["start", "end", "frame"] and len(table) == 5
    assert table["start"].to_pylist()[1] == pytest.approx(0.1) and table["end"].to_pylist()[-1] == pytest.approx(0.45)
    assert table["frame"].to_pylist() == some_frames().tolist()
    assert json.loads(table.schema.metadata[b"recording"])["file"] == "/a.wav"


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_damaged_file_gets_a_sentence_and_counts_as_missing_to_be_written_again(store, kept):
    store.write(recording(), some_frames(), 0.1)
    path = store.path_of("/a.wav")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    assert store.find("/a.wav") is None
    with pytest.raises(CorpusError, match="is damaged .*; delete it, and index its recording again") as raised:
        store.recordings()
    assert "\n" not in str(raised.value)


def test_damaged_frames_get_a_sentence(store):
    store.write(recording(num_frames=6), some_frames(), 0.1)
    with pytest.raises(CorpusError, match="is damaged"):
        store.frames(store.find("/a.wav"))
    store.write(recording(num_frames=2000), some_frames(2000), 0.1)
    path = store.path_of("/a.wav")
    data = bytearray(path.read_bytes())
    data[4:-4000] = os.urandom(len(data) - 4004)  # up to the metadata
    path.write_bytes(data)
    with pytest.raises(CorpusError, match="is damaged"):
        store.frames(store.find("/a.wav"))


def test_some_frames_another_model_are_refused(store, tmp_path):
    store.write(recording(), some_frames(), 0.1)
    other = RecordingStore(store.folder, "another")
    with pytest.raises(CorpusError, match="holds frames of another model"):
        other.recordings()


def test_a_full_disk_leaves_what_was_there(store):
    store.write(recording(), some_frames(), 0.1)
    with full_disk(20_000), pytest.raises(DiskError, match="cannot be written"):
        store.write(recording(num_frames=90000), some_frames(90000), 0.1)
    assert torch.equal(store.frames(store.find("/a.wav")), some_frames())


def test_the_state_and_the_hash_of_a_file_change_with_it(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = file_state(path), hash_of(path)
    path.write_bytes(b"22")
    os.utime(path, ns=(5, 7))
    assert file_state(path) == (2, 7) and hash_of(path) != before[1]

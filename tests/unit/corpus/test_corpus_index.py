"""An index of recordings: adding, finding, removing; what it refuses; and that it survives anything."""

import multiprocessing
import os
import random
import shutil

import filelock
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.full_disk import full_disk
from helpers.models import make_model, random_clips, tiny_config
from helpers.recordings import RATE, SETTINGS, index_and_kill, index_model, write_recordings
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import AudioIndex
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.settings import SearchSettings
from modeling_audio_branch.disk import DiskError


@pytest.fixture(scope="module")
def model():
    return index_model()


@pytest.fixture
def files(tmp_path):
    return write_recordings(tmp_path / "recordings", 3)


@pytest.fixture
def index(tmp_path, model, files):
    index = AudioIndex(tmp_path / "db", model)
    index.add(files)
    return index


def part_of(file, start, stop):
    """Samples of a recording from one time to another, in seconds."""
    return soundfile.read(file, start=int(start * RATE), stop=int(stop * RATE), dtype="float32")[0]


def contents(folder):
    """The files of an index and their bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_part_of_a_recording_is_found_where_it_is(index, files):
    hits = index.find(part_of(files[1], 0.8, 1.4), top=3, sampling_rate=RATE)
    assert hits[0].file == files[1]
    assert hits[0].start == pytest.approx(0.8, abs=0.1) and hits[0].end == pytest.approx(1.4, abs=0.1)
    assert hits[0].score > hits[1].score and hits[0].score > 0.6 and hits[0].probability is None
    assert index.find(part_of(files[1], 0.8, 1.4), 3, RATE, recordings=[files[0]])[0].file == files[0]
    with pytest.raises(CorpusError, match="missing.wav is not in the index"):
        index.find(part_of(files[1], 0.8, 1.4), 3, RATE, recordings=["missing.wav"])


@given(order=st.permutations(range(4)), others=st.sets(st.integers(0, 3)))
@settings(max_examples=8)
def test_what_is_found_in_a_recording_depends_on_nothing_else_in_the_index(order, others, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    files = write_recordings(folder / "recordings", 4)
    search = SearchSettings(3)
    search.measure(torch.randn(100, 16, generator=torch.Generator().manual_seed(0)))
    phrase = part_of(files[0], 0.5, 1.2)
    chosen = [files[number] for number in order if number in {0, *others}]
    together = AudioIndex(folder / "together", index_model(), search)
    together.add(chosen)
    alone = AudioIndex(folder / "alone", index_model(), search)
    alone.add(files[0])
    expected = alone.find(phrase, 50, RATE)
    assert expected[:5] == [hit for hit in together.find(phrase, 200, RATE) if hit.file == files[0]][:5]


def test_recordings_are_counted_listed_and_removed(index, files, tmp_path):
    assert len(index) == 3 and files[0] in index and "missing.wav" not in index
    assert [recording.file for recording in index.recordings()] == files
    assert index.recordings()[0].seconds == pytest.approx(2.0)
    with pytest.raises(CorpusError, match="missing.wav is not in the index"):
        index.remove([files[0], "missing.wav"])
    assert len(index) == 3
    AudioIndex(tmp_path / "db").remove(files[0])  # without a model
    assert len(index) == 2 and files[0] not in index
    assert all(hit.file != files[0] for hit in index.find(part_of(files[0], 0.5, 1.0), 50, RATE))


def test_what_is_unchanged_is_skipped_and_what_changed_is_encoded_again(index, files, tmp_path):
    before = contents(tmp_path / "db")
    done = index.add(tmp_path / "recordings")
    assert done.added == [] and done.unchanged == files and contents(tmp_path / "db") == before
    os.utime(files[0], ns=(1, 1))  # touched, not changed
    assert index.outdated() == [files[0]]
    assert index.add(files).added == [] and index.outdated() == []
    soundfile.write(files[1], random_clips([RATE], seed=9)[0].numpy(), RATE)
    assert index.outdated() == [files[1]]
    assert index.add(files).added == [files[1]] and len(index) == 3
    assert index.recordings()[1].seconds == pytest.approx(1.0)
    os.remove(files[2])
    assert index.outdated() == [files[2]]


def test_a_corrupt_recording_stops_or_is_left_out_and_the_others_are_there(tmp_path, model):
    files = write_recordings(tmp_path / "recordings", 3)
    with open(files[1], "wb") as file:
        file.write(b"no audio")
    soundfile.write(files[2], random_clips([100])[0].numpy(), RATE)  # shorter than a frame
    index = AudioIndex(tmp_path / "db", model)
    with pytest.raises(ValueError, match="can't be read as audio"):
        index.add(files)
    assert len(index) == 1
    done = index.add(files, on_error="skip")
    assert done.unchanged == files[:1] and list(done.errors) == files[1:]
    assert "can't be read as audio" in done.errors[files[1]] and "is shorter than a frame" in done.errors[files[2]]
    with pytest.raises(ValueError, match="on_error='no' was given; give 'raise' or 'skip'"):
        index.add(files, on_error="no")


def test_a_damaged_part_of_the_index_is_named_and_made_again(index, files, tmp_path):
    before = contents(tmp_path / "db")
    damaged = index._store.path_of(files[1])
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(CorpusError, match="is damaged .* index its recording again"):
        index.find(part_of(files[0], 0.5, 1.0), 5, RATE)
    assert index.add(files).added == [files[1]]
    assert contents(tmp_path / "db") == before


def test_another_model_or_another_window_is_refused_and_the_same_weights_elsewhere_are_not(index, tmp_path, model):
    with pytest.raises(CorpusError, match="was made by another model .a model in memory. than the given one; give"):
        AudioIndex(tmp_path / "db", index_model(seed=1))
    with pytest.raises(CorpusError, match="with attention_window=3, not 5"):
        AudioIndex(tmp_path / "db", model, SearchSettings(5))
    model.save_pretrained(tmp_path / "checkpoint")
    assert len(AudioIndex(tmp_path / "db", tmp_path / "checkpoint", SearchSettings(3))) == 3
    other = make_model(AudioBranchModel, tiny_config(**SETTINGS, log_zero_guard_value=1e-3))
    with pytest.raises(CorpusError, match="was made by another model"):
        AudioIndex(tmp_path / "db", other, SearchSettings(3))


def test_a_model_that_cannot_search_and_an_index_without_one_get_a_sentence(tmp_path, files, repositories):
    other = AudioBranchModel.from_encoder(repositories["wavlm"])
    with pytest.raises(CorpusError, match="needs our own encoder"):
        AudioIndex(tmp_path / "db", other)
    with pytest.raises(CorpusError, match="without chunked or global attention"):
        AudioIndex(
            tmp_path / "db", make_model(AudioBranchModel, tiny_config(attention_window=3, global_attention="shared"))
        )
    with pytest.raises(CorpusError, match="was opened without a model; give the one that made it"):
        AudioIndex(tmp_path / "db").add(files)
    assert not (tmp_path / "db").exists()


def test_an_index_that_was_killed_when_it_was_begun_is_one(tmp_path, model, files):
    AudioIndex(tmp_path / "db", model).add(files)
    (tmp_path / "db" / "index.json").unlink()
    shutil.rmtree(tmp_path / "db" / "recordings")
    assert len(AudioIndex(tmp_path / "db", model).add(files).added) == 3


def test_nothing_is_made_where_something_is_to_be_removed(tmp_path):
    with pytest.raises(CorpusError, match="db holds no index; give the folder of one"):
        AudioIndex(tmp_path / "db").remove("a.wav")
    assert not (tmp_path / "db").exists()


def test_a_folder_of_something_else_is_refused(tmp_path, model):
    (tmp_path / "notes.txt").write_text("no index")
    with pytest.raises(CorpusError, match="exists and is no index; give another folder"):
        AudioIndex(tmp_path, model)
    for text in ("{", "{}", '{"format": 2}', "[]"):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(CorpusError, match="index.json is not of an index that can be read"):
            AudioIndex(tmp_path, model)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 20.5])
def test_a_phrase_that_is_too_short_or_too_long_gets_a_sentence(index, seconds):
    with pytest.raises(CorpusError, match=f"The phrase has {seconds:.2f} s; give 0.2 to 20 s of speech"):
        index.find(torch.zeros(int(seconds * RATE)), sampling_rate=RATE)


def test_what_cannot_be_sought_gets_a_sentence(tmp_path, index, model):
    for top in (0, True, 1.5):
        with pytest.raises(ValueError, match="top=.* was given; give a whole number of at least 1"):
            index.find(torch.zeros(RATE), top, RATE)
    with pytest.raises(CorpusError, match="is empty; add recordings first"):
        AudioIndex(tmp_path / "new", model).find(torch.zeros(RATE), sampling_rate=RATE)


def test_silence_and_recordings_of_other_rates_and_channels_are_indexed(tmp_path, model):
    clip = random_clips([3 * 44100])[0].numpy()
    soundfile.write(tmp_path / "a.flac", clip[:, None].repeat(2, 1), 44100)
    soundfile.write(tmp_path / "b.wav", 0 * clip, 44100)
    index = AudioIndex(tmp_path / "db", model)
    assert len(index.add([tmp_path / "a.flac", tmp_path / "b.wav"]).added) == 2
    hit = index.find(clip[44100 : 2 * 44100], 1, 44100)[0]
    assert hit.file.endswith("a.flac") and hit.start == pytest.approx(1, abs=0.1)


def test_only_one_process_writes_at_a_time(index, files, tmp_path):
    with filelock.FileLock(tmp_path / "db" / ".lock"):
        for write in (lambda: index.add(files), lambda: index.remove(files[0])):
            with pytest.raises(CorpusError, match="Another process writes to the index"):
                write()
        assert index.find(part_of(files[0], 0.5, 1.0), 1, RATE)
    assert index.add(files).unchanged == files


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(index, tmp_path, on_error):
    more = write_recordings(tmp_path / "more", 1, seconds=30.0)
    before = contents(tmp_path / "db")
    with full_disk(20_000), pytest.raises(DiskError, match="cannot be written"):
        index.add(more, on_error=on_error)  # "skip", too: it is no error of the recording
    assert contents(tmp_path / "db") == before
    assert index.add(more).added == more


def test_an_index_that_was_stopped_before_its_first_recording_goes_on(tmp_path, model, files):
    AudioIndex(tmp_path / "db", model).add([])
    with pytest.raises(CorpusError, match="is empty; add recordings first"):
        AudioIndex(tmp_path / "db", model).find(part_of(files[0], 0.3, 0.9), 3, RATE)
    AudioIndex(tmp_path / "db", model).add(files)
    AudioIndex(tmp_path / "whole", model).add(files)
    assert contents(tmp_path / "db") == contents(tmp_path / "whole")


def test_an_index_that_is_killed_twenty_times_and_continued_equals_one_made_at_a_stretch(tmp_path, model):
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.fail("This system has no forkserver, with which the test kills.")
    files = write_recordings(tmp_path / "recordings", 24, seconds=1.5)
    whole = AudioIndex(tmp_path / "whole", model)
    whole.add(files)
    generator, interrupted = random.Random(0), 0
    for _ in range(100):
        if index_and_kill(tmp_path / "killed", files, generator, longest=0.15):
            interrupted += 1
            if interrupted == 20:
                break
        else:  # it was done before: begun anew, so that there is something to interrupt
            shutil.rmtree(tmp_path / "killed")
    assert interrupted == 20
    killed = AudioIndex(tmp_path / "killed", model)
    killed.add(files)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    phrase = part_of(files[3], 0.3, 0.9)
    assert killed.find(phrase, 10, RATE) == whole.find(phrase, 10, RATE)

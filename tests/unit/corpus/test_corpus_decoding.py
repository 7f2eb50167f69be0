"""Decoding in worker processes: the same samples, whatever rows a worker gets at once."""

import hashlib
import multiprocessing
import time

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.corpora import write_corpus
from helpers.processes import quick_context
from modeling_audio_branch import audio_input
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.corpus import decoding
from modeling_audio_branch.corpus.decoding import as_file, cut_parts, decode, id_of
from modeling_audio_branch.corpus.plan import read_plan
from modeling_audio_branch.corpus.sources import sources_of

RATE = 16000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), 20)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_come_in_order_with_the_samples_that_load_audio_gives(files, tmp_path, workers):
    rows = read_plan(tmp_path / "none").grown(sources_of(files), 100).rows
    numbers = [3, 4, 5, 19, 0, 1, *range(6, 18)]
    decoded = list(decode(rows, numbers, {}, RATE, True, workers))
    assert [each.row for each in decoded] == numbers
    for each in decoded:
        np.testing.assert_array_equal(each.audio, load_audio(files[each.row], RATE))
        assert each.id == hashlib.sha256(open(files[each.row], "rb").read()).hexdigest() and each.error is None


@given(st.lists(st.tuples(st.none() | st.floats(0, 3.5), st.none() | st.floats(0.001, 4)), min_size=1, max_size=5))
@settings(max_examples=20)
def test_parts_are_cut_out_of_the_whole_recording_to_the_sample(spans):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_input, "BLOCK_SECONDS", 1)
        whole, seconds = load_audio(LONG[0], RATE), len(load_audio(LONG[0], RATE)) / RATE
        for (start, end), part in zip(spans, cut_parts(LONG[0], RATE, spans), strict=True):
            first, last = start or 0.0, seconds if end is None else end
            if not first < last <= seconds + decoding.AT_END or first >= seconds:
                assert isinstance(part, ValueError) and "within the recording" in str(part)
            else:
                expected = whole[round(first * RATE) : round(last * RATE)]
                np.testing.assert_allclose(part, expected, atol=2e-6)


LONG = []


@pytest.fixture(scope="module", autouse=True)
def long_recording(tmp_path_factory):
    """At 44.1 kHz, so that it is resampled block by block."""
    LONG[:] = write_corpus(tmp_path_factory.mktemp("long"), 3, seconds=(3, 3.2))[2:]


def test_a_span_that_is_no_span_is_a_sentence(files):
    for span in ((-1.0, 1.0), (0.5, 0.5), (1.0, 0.1), (float("nan"), 1.0), (0.0, float("nan")), (0.0, 9.0)):
        (part,) = cut_parts(files[0], RATE, [span])
        assert isinstance(part, ValueError), span
        assert str(part).startswith(f"start={span[0]} and end={span[1]} s were given, but the recording has")


def test_an_id_is_of_the_audio_and_the_span():
    digest = hashlib.sha256(b"audio").hexdigest()
    ids = {id_of(digest, *span) for span in ((None, None), (0.0, None), (None, 1.0), (0.0, 1.0), (0.0, 2.0))}
    assert len(ids) == 5 and id_of(digest, None, None) == digest


def test_bytes_are_a_file_as_long_as_it_is_needed():
    with as_file(b"audio") as path:
        assert open(path, "rb").read() == b"audio"
    with pytest.raises(FileNotFoundError):
        open(path)
    with as_file("here.wav") as path:
        assert path == "here.wav"


def test_workers_end_when_their_process_was_killed(tmp_path):
    """They hold more than the pipe to their process takes, so that they could never give it away."""
    context = quick_context()
    process = context.Process(target=decode_for_ever, args=(write_corpus(tmp_path / "corpus", 60), tmp_path))
    process.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [psutil.Process(int(pid)) for pid in (tmp_path / "started").read_text().split()]
    assert len(workers) == 2
    process.kill()
    process.join()
    assert not psutil.wait_procs(workers, timeout=30)[1]


def decode_for_ever(files, folder):
    rows = read_plan(folder / "none").grown(sources_of(files), 100).rows
    decoded = decode(rows, list(range(60)) * 20, {}, RATE, True, workers=2)
    next(decoded)
    pids = [str(process.pid) for process in multiprocessing.active_children()]
    (folder / "started.part").write_text(" ".join(pids))
    (folder / "started.part").rename(folder / "started")
    time.sleep(600)


def test_any_error_of_a_file_is_that_of_its_rows_alone(files, tmp_path, monkeypatch):
    rows = read_plan(tmp_path / "none").grown(sources_of([*files[:2], "memory://nowhere/a.wav"]), 100).rows
    calls = []

    def fail_once(clip, *rest):
        calls.append(clip)
        if len(calls) == 1:
            raise RuntimeError("The decoder fell over.\nA second line")
        return torch.zeros(5)

    monkeypatch.setattr(decoding, "load_audio", fail_once)
    decoded = list(decode(rows, [0, 1, 2], {}, RATE, True, 0))
    assert decoded[0].error == "The decoder fell over." and decoded[1].error is None
    assert "nowhere" in decoded[2].error

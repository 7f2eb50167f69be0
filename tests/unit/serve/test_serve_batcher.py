"""Clips of many requests in few forward passes, with the numbers of `encode`."""

import threading

import pytest
import torch

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.serve import batcher as batcher_module
from modeling_audio_branch.serve.batcher import Batcher, encode_waves
from modeling_audio_branch.serve.limits import Limits, RequestError

LENGTHS = [1600, 16000, 4000, 9000, 12345, 800, 0, 7000]


@pytest.fixture
def model():
    return make_model(AudioBranchModel, tiny_config())


class Gate:
    """Holds up the batches until it is opened, and notes their sizes."""

    def __init__(self):
        self.opened, self.sizes, self.seconds = threading.Event(), [], []

    def __call__(self, clips, seconds):
        self.opened.wait(60)
        self.sizes.append(clips)
        self.seconds.append(seconds)


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_the_numbers_are_those_of_encode(model_class):
    model = make_model(model_class, tiny_config(num_labels=3))
    batcher, clips = Batcher(model, Limits(), workers=2), random_clips(LENGTHS)
    results = [future.result(60) for future in batcher.submit(clips)]
    batcher.close()
    for clip, result in zip(clips, results, strict=True):
        expected = model.encode(clip, 16000)
        assert ("logits" in result) == (model_class is AudioBranchForAudioClassification)
        for name, value in result.items():
            torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=0)


def test_what_waits_is_put_together_up_to_the_limits(model):
    gate = Gate()
    batcher = Batcher(model, Limits(batch_clips=4, batch_seconds=1.0), on_batch=gate)
    futures = batcher.submit(random_clips([1600]))
    futures += [future for _ in range(5) for future in batcher.submit(random_clips([1600]))]
    futures += batcher.submit(random_clips([15000, 1600, 1600]))
    gate.opened.set()
    assert all(future.result(60) for future in futures)
    batcher.close()
    assert max(gate.sizes) <= 4 and sum(gate.sizes) == 9 and len(gate.sizes) <= 5
    assert max(gate.seconds) <= 1.0
    assert batcher.waiting == 0


def test_more_than_may_wait_is_refused_but_one_request_always_runs(model):
    gate = Gate()
    batcher = Batcher(model, Limits(waiting_seconds=1.0), on_batch=gate)
    futures = batcher.submit(random_clips([32000]))  # runs
    while batcher.waiting:
        pass
    futures += batcher.submit(random_clips([16000]))
    with pytest.raises(RequestError, match="later") as refused:
        batcher.submit(random_clips([1600]))
    assert refused.value.status == 503
    gate.opened.set()
    assert all(future.result(60) for future in futures)
    assert batcher.submit(random_clips([16000]))[0].result(60)
    batcher.close()


def test_a_cancelled_clip_is_left_out(model):
    gate = Gate()
    batcher = Batcher(model, Limits(), on_batch=gate)
    first = batcher.submit(random_clips([1600]))
    while batcher.waiting:
        pass
    second, third = batcher.submit(random_clips([1600, 1600]))
    assert second.cancel()
    gate.opened.set()
    assert first[0].result(60) and third.result(60)
    batcher.close()
    assert gate.sizes == [1, 1]


def test_a_failed_batch_does_not_end_the_service(model, monkeypatch):
    batcher = Batcher(model, Limits())
    with monkeypatch.context() as patch:
        patch.setattr(model, "encode", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batcher.submit(random_clips([1600]))[0].result(60)
    assert batcher.submit(random_clips([1600]))[0].result(60)
    batcher.close()


def test_a_closed_batcher_cancels_what_waits_and_takes_no_more(model):
    gate = Gate()
    batcher = Batcher(model, Limits(), on_batch=gate)
    batcher.submit(random_clips([1600]))
    while batcher.waiting:
        pass
    (waiting,) = batcher.submit(random_clips([1600]))
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while batcher._is_open:
        pass
    gate.opened.set()
    closing.join()
    assert waiting.cancelled()
    with pytest.raises(RequestError, match="closing"):
        batcher.submit(random_clips([1600]))


def test_a_clip_that_the_model_refuses_does_not_touch_the_others(model):
    clips = random_clips([1600, 1600])
    clips[1][3] = torch.nan
    good, bad = encode_waves(model, clips)
    torch.testing.assert_close(good["pooler_output"], model.encode(clips[0], 16000).pooler_output, atol=1e-5, rtol=0)
    assert isinstance(bad, RequestError) and bad.status == 422 and "NaN" in bad.sentence


def test_a_batch_waits_for_requests_that_are_being_read(model, monkeypatch):
    monkeypatch.setattr(batcher_module, "LINGER_SECONDS", 10)
    gate = Gate()
    gate.opened.set()
    batcher = Batcher(model, Limits(), on_batch=gate)
    with batcher.arriving():
        futures = batcher.submit(random_clips([1600]))
        futures += batcher.submit(random_clips([1600]))
    assert all(future.result(60) for future in futures)
    batcher.close()
    assert gate.sizes == [2]


def test_clips_that_nobody_waits_for_make_room_for_others(model):
    gate = Gate()
    batcher = Batcher(model, Limits(waiting_seconds=3.0, batch_clips=1), on_batch=gate)
    running = batcher.submit(random_clips([1600]))
    while batcher.waiting:
        pass
    left = batcher.submit(random_clips([16000] * 3))
    assert all(future.cancel() for future in left)
    (future,) = batcher.submit(random_clips([16000]))
    assert batcher.waiting == 1
    gate.opened.set()
    assert future.result(60) and running[0].result(60)
    batcher.close()
    assert gate.sizes == [1, 1]


def test_a_forward_pass_is_bounded_with_its_padding(model):
    gate = Gate()
    batcher = Batcher(model, Limits(batch_seconds=4.0), on_batch=gate)
    first = batcher.submit(random_clips([1600]))
    while batcher.waiting:
        pass
    futures = batcher.submit(random_clips([1600] * 3 + [32000] + [1600]))  # 2.4 s in all, 10 s with the padding
    gate.opened.set()
    assert all(future.result(60) for future in (*first, *futures))
    batcher.close()
    assert gate.sizes == [1, 3, 2]

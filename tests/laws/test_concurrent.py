"""The law of concurrent use: threads that share a model get the same numbers, and the model stays as it is."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel, encoding

RATE = 16000


@pytest.mark.parametrize("mode", ["train", "eval", "partly"])
@pytest.mark.parametrize("prepared", [False, True])
def test_threads_encode_at_a_time_and_the_model_stays_as_it_is(mode, prepared):
    config = tiny_config(conv_norm="batch", dropout=0.5, position_embedding="relative", apply_spec_augment=True)
    model = make_model(AudioBranchModel, config)
    clips = [clip.numpy() for clip in random_clips([4000, 9000, 2000, 7000])]
    expected = model.encode(clips, sampling_rate=RATE).segment_features
    if prepared:
        model.prepare_for_inference(measure=False)
    model.train(mode == "train")
    if mode == "partly":
        model.encoder.layers[0].train()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with ThreadPoolExecutor(4) as threads:
        results = [*threads.map(lambda _: model.encode(clips, sampling_rate=RATE).segment_features, range(16))]
    for result in results:
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_encode_takes_no_lock_that_threads_and_processes_share(monkeypatch):
    """A thread or a process that dies with tqdm's lock would block all others, also where no bar is shown."""
    monkeypatch.setattr(encoding, "tqdm", lambda *_, **__: pytest.fail("tqdm was used"))
    model = make_model(AudioBranchModel, tiny_config())
    clips = [clip.numpy() for clip in random_clips([2000] * 9)]
    model.encode(clips, sampling_rate=RATE, show_progress=False)
    model.encode(clips, sampling_rate=RATE)  # there is no terminal in a test
    model.encode(clips[0], sampling_rate=RATE)

"""The law of GPUs: the host never waits for the device, and starts few kernels, however many clips there are.

Counted on a pretended GPU (see `benchmarks.pretended_cuda`).
"""

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.inputs import mixed_seconds
from benchmarks.launches import count, count_peer, counted
from benchmarks.peers import Parakeet
from benchmarks.pretended_cuda import move, pretended_cuda, to_device
from helpers.models import make_model, tiny_config
from helpers.strategies import any_architectures, convolutions, windows
from modeling_audio_branch import AudioBranchConfig, AudioBranchModel


@pytest.fixture(scope="module")
def large():
    with torch.device("meta"):
        return move(AudioBranchModel(AudioBranchConfig.large()).eval())


@pytest.fixture(scope="module")
def parakeet():
    peer = Parakeet(17).eval()
    move(peer)
    return peer


@pytest.mark.parametrize(
    ("seconds", "most"),
    [([0.5], 1.0), ([3.0], 1.0), ([3.0] * 8, 1.0), ([60.0], 1.0), (mixed_seconds(16), 1.15), (mixed_seconds(64), 1.15)],
    ids=["1 x 0.5 s", "1 x 3 s", "8 x 3 s", "1 x 60 s", "16 mixed", "64 mixed"],
)
def test_no_more_kernels_are_started_than_parakeet_starts(seconds, most, large, parakeet):
    encoder, without_lengths, from_audio = count(large, seconds)
    assert encoder.waits == from_audio.waits == 0 and without_lengths.waits == 1
    assert encoder.launches <= most * count_peer(parakeet, seconds).launches


def test_a_clip_more_starts_three_kernels_more_at_most(large):
    launches = [count(large, mixed_seconds(clips))[0].launches for clips in (16, 64, 256)]
    assert launches[1] - launches[0] <= 3 * (64 - 16) and launches[2] - launches[1] <= 3 * (256 - 64)


lengths = st.lists(st.integers(0, 12000), min_size=1, max_size=5)


@given(any_architectures, windows, convolutions, lengths)
@example({"position_embedding": "relative"}, {"attention_window": 1}, {}, [9000] * 3)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_host_never_waits_for_the_device_in_any_configuration(choices, window, convolution, lengths):
    model = move(make_model(AudioBranchModel, tiny_config(**(choices | window | convolution))))

    def run(audio, mask, lengths=None):
        model(audio, mask, lengths=lengths)

    lengths = [*lengths, max(*lengths, 200)]
    for with_lengths in (True, False):
        counts = counted(run, (len(lengths), max(lengths)), lengths, with_lengths)
        assert counts.waits == (0 if with_lengths else 1), counts.waits_by_name


@given(any_architectures, windows, convolutions, st.integers(400, 12000), st.integers(1, 3))
@settings(max_examples=20)
def test_nothing_is_copied_to_the_device_for_equal_clips_so_that_a_graph_can_be_captured(
    choices, window, convolution, num_samples, clips
):
    model = move(make_model(AudioBranchModel, tiny_config(**(choices | window | convolution))))
    audio = to_device(torch.zeros(clips, num_samples))
    with pretended_cuda() as counts:
        model(audio)
    assert counts.copies == counts.waits == 0


WAITS = {
    "a value": lambda x: x.sum().item(),
    "a comparison": lambda x: bool((x > 0).all()),
    "a list": lambda x: torch.arange(3, device="cuda").tolist(),
    "a copy to the host": lambda x: x.cpu(),
    "a copy to the device": lambda x: torch.zeros(3).to("cuda"),
    "a boolean index": lambda x: x[torch.ones(3, device="cuda", dtype=torch.bool)],
    "what is not zero": lambda x: torch.arange(3, device="cuda").nonzero(),
    "repeats without a size": lambda x: torch.arange(3, device="cuda").repeat_interleave(
        torch.ones(3).long().to("cuda")
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_pretended_gpu_counts_every_wait(name):
    states = to_device(torch.ones(3))
    with pretended_cuda() as counts:
        WAITS[name](states)
    assert counts.waits >= 1
    with pretended_cuda() as counts:
        (states * 2 + 1).view(3, 1).sum(0)
        torch.zeros(3).pin_memory().to("cuda", non_blocking=True)
    assert counts.waits == 0 and counts.launches == 3 and counts.copies == 1

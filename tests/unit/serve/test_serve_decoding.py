"""Clips are decoded as `encode` does, within bounds."""

import io

import numpy as np
import pytest
import soundfile
import torch

from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.serve.decoding import decode_clips
from modeling_audio_branch.serve.limits import Limits, RequestError


def sound(seconds=1.0, rate=8000, channels=1, form="WAV"):
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels))
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


@pytest.mark.parametrize(
    "form, rate, channels", [("WAV", 8000, 1), ("FLAC", 44100, 2), ("OGG", 22050, 1), ("MP3", 44100, 2)]
)
def test_the_samples_are_those_that_encode_gets(form, rate, channels):
    data = sound(1.3, rate, channels, form)
    (samples,) = decode_clips([data], 8000, Limits())
    assert torch.equal(samples, load_audio(data, 8000))


def test_long_clips_and_long_requests_are_refused_whatever_their_size_in_bytes():
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(8000 * 700, np.int16), 8000, format="FLAC")  # a few kB
    assert len(silence.getvalue()) < 50_000
    limits = Limits(clip_seconds=2, request_seconds=5)
    for clips in ([silence.getvalue()], [sound(2.1)], [sound(2)] * 3):
        with pytest.raises(RequestError, match="at most 2 s, and at most 5 s in a request") as refused:
            decode_clips(clips, 8000, limits)
        assert refused.value.status == 413
    assert len(decode_clips([sound(2)] * 2, 8000, limits)) == 2


@pytest.mark.parametrize("rate, channels", [(1_000_000, 1), (200_000, 2), (8000, 33), (192_000, 1000)])
def test_files_of_many_channels_or_of_a_huge_rate_are_refused(rate, channels):
    with pytest.raises(RequestError, match="give at most 32 channels") as refused:
        decode_clips([sound(0.01, rate, channels)], 8000, Limits())
    assert refused.value.status == 422


@pytest.mark.parametrize("data", [b"no audio", sound()[:44], sound(rate=500), sound(form="FLAC")[:2000], b"\0" * 1000])
def test_what_is_no_audio_is_refused_in_one_sentence(data):
    with pytest.raises(RequestError, match="^Input 1 ") as refused:
        decode_clips([sound(), data], 8000, Limits())
    assert refused.value.status == 422

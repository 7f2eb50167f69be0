"""Sound files of any length: read and resampled block by block as they would be at once."""

import itertools

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import random_clips
from modeling_audio_branch import audio_input
from modeling_audio_branch.audio_file import AudioFile, long_file, resampled
from modeling_audio_branch.audio_input import load_audio, resample

RATES = [1000, 8000, 11025, 11127, 16000, 22050, 44100, 48000, 128000]


@given(st.sampled_from(RATES), st.sampled_from([8000, 16000]), st.lists(st.integers(0, 20000), min_size=1, max_size=6))
@settings(max_examples=60)
def test_samples_are_resampled_in_blocks_of_any_lengths_as_at_once(rate, target_rate, lengths):
    samples = random_clips([sum(lengths)])[0]
    blocks = [(block, rate) for block in samples.split(lengths)]
    expected = resample(samples, rate, target_rate)
    parts = [*resampled(blocks, target_rate)]
    assert len(torch.cat(parts or [samples])) == len(expected)
    if len(expected):
        torch.testing.assert_close(torch.cat(parts), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_file_gives_the_samples_of_load_audio_each_time_it_is_read(rate, tmp_path, monkeypatch):
    monkeypatch.setattr(audio_input, "BLOCK_SECONDS", 1)
    path = tmp_path / "a.wav"
    stereo = torch.stack(random_clips([5 * rate + 17, 5 * rate + 17]), dim=1)
    soundfile.write(path, stereo.numpy(), rate, subtype="FLOAT")
    file = AudioFile(path, 16000)
    for _ in range(2):
        blocks = [*file]
        assert len(blocks) > 3
        torch.testing.assert_close(torch.cat(blocks), load_audio(path, 16000), atol=2e-6, rtol=0)


def test_only_a_file_that_is_longer_is_a_long_file(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, random_clips([44100])[0].numpy(), 44100)
    assert long_file(path, 16000, 1.0) is None
    assert long_file(str(path), 16000, 0.99).rate == 16000
    assert long_file(str(path), 16000, 0.99).seconds is None
    assert long_file(str(path), 16000, 0.99, show_progress=True).seconds == 1.0
    assert long_file(random_clips([44100])[0], 16000, 0.5) is None
    assert long_file(tmp_path / "missing.wav", 16000, 0.5) is None


def test_a_file_that_is_cut_off_is_named_while_it_is_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, random_clips([80000])[0].numpy(), 16000)
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(ValueError, match=r"Clip 3 of the batch \('.*a.flac'\) (can't be read|is cut off)"):
        list(itertools.chain(AudioFile(path, 8000, index=3)))

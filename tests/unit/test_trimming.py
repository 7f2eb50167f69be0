"""Silence at the ends of clips."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel, encoding
from modeling_audio_branch.trimming import sound_span

RATE, FRAME = 16000, 320
OUTPUTS = ("segment_features", "sequence_embedding", "pooler_output", "segment_mask")


@given(st.integers(0, 9000), st.integers(800, 9000), st.integers(0, 9000), st.floats(1e-3, 1.0))
def test_the_sound_is_kept_whole_with_at_most_two_frames_of_silence_on_either_side(before, length, after, level):
    sound = level * torch.sign(torch.randn(length))
    start, end = sound_span(torch.cat([torch.zeros(before), sound, torch.zeros(after)]), RATE, 35)
    assert max(0, before - 2 * FRAME) <= start <= before
    assert before + length - FRAME <= end <= min(before + length + 2 * FRAME, before + length + after)


def test_a_click_does_not_hide_speech_and_silence_is_kept():
    clip = torch.zeros(2 * RATE)
    clip[8000:24000] = 0.02 * torch.randn(16000)
    clip[100] = 1.0  # a sample; 40 frames are louder than the quantile lets through
    assert sound_span(clip, RATE, 35)[1] > 23000
    for silence in (torch.zeros(RATE), torch.zeros(100), torch.zeros(0)):
        assert sound_span(silence, RATE, 35) == (0, len(silence))


@given(st.lists(st.tuples(*[st.integers(0, 8000)] * 2, st.integers(1600, 9000)), min_size=1, max_size=4))
@settings(max_examples=10)
def test_a_clip_with_silence_at_its_ends_is_embedded_as_if_the_caller_had_cut_it_off(shapes):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4, trim_top_db=35))
    sounds = random_clips([length for _, _, length in shapes])
    clips = [torch.cat([torch.zeros(a), clip, torch.zeros(b)]) for (a, b, _), clip in zip(shapes, sounds, strict=True)]
    spans = [sound_span(clip, RATE, 35) for clip in clips]
    got = model.encode(clips, sampling_rate=RATE)
    model.config.trim_top_db = None
    expected = model.encode([clip[slice(*span)] for clip, span in zip(clips, spans, strict=True)], sampling_rate=RATE)
    for name in OUTPUTS:
        torch.testing.assert_close(got[name], expected[name], atol=1e-5, rtol=0, msg=name)
    starts = torch.tensor([start for start, _ in spans])[:, None, None] / RATE
    torch.testing.assert_close(got.segment_times, expected.segment_times + starts)  # times of the whole clip


@pytest.mark.parametrize("as_file", [True, False])
def test_spans_long_clips_and_sounds_of_an_instant_are_not_cut(tmp_path, monkeypatch, as_file):
    plain = make_model(AudioBranchModel, tiny_config(subsampling_factor=4))
    trimmed = make_model(AudioBranchModel, tiny_config(subsampling_factor=4, trim_top_db=35))
    clip = np.zeros(2 * RATE, np.float32)
    clip[9000:20000] = random_clips([11000])[0]
    instant = np.zeros(RATE, np.float32)
    instant[8000:8010] = 0.5
    for index, each in enumerate((clip, instant)):
        soundfile.write(tmp_path / f"{index}.wav", each, RATE, subtype="FLOAT")
    inputs = [tmp_path / "0.wav", tmp_path / "1.wav"] if as_file else [clip, instant]

    def difference(audio, **options):
        first, second = (model.encode(audio, RATE, **options).pooler_output for model in (plain, trimmed))
        return (first - second).abs().max()

    assert difference(inputs[0]) > 1e-3
    assert difference(inputs[1]) == 0
    assert difference(inputs[0], spans=[[0.1, 1.9]]) == 0 and difference(inputs[0], window_seconds=0.5) == 0
    monkeypatch.setattr(encoding, "LONG_FILE_SECONDS", 1.5)
    assert difference(inputs[0]) < 1e-6

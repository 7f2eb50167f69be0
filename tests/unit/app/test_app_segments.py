"""One clip on the page."""

import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.app.segments import segment_at, view_segments, write_segment


@pytest.fixture
def clip(tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal((44100, 2))
    soundfile.write(tmp_path / "clip.wav", samples, 44100)
    return str(tmp_path / "clip.wav")


@pytest.fixture
def model():
    return make_model(AudioBranchModel, tiny_config())


def test_the_files_hold_what_encode_gives(model, clip, tmp_path):
    view, expected = view_segments(model, clip, tmp_path), model.encode(clip)
    assert np.array_equal(np.load(view.npy), expected.segment_features.numpy())
    written = json.loads(open(view.json).read())
    assert torch.equal(torch.tensor(written["segment_features"]), expected.segment_features)
    assert torch.equal(torch.tensor(written["pooler_output"]), expected.pooler_output)
    assert torch.equal(torch.tensor(written["segment_times"]), expected.segment_times)
    assert view.names[0] == "1: 0.00 to 0.25 s" and len(view.names) == 4
    assert view.probabilities is None and view.summary == "4 segments of 0.25 s, 12 features each."


def test_a_click_finds_the_segment_that_was_drawn_there(model, clip, tmp_path):
    """The borders between segments are orange lines in the picture."""
    view = view_segments(model, clip, tmp_path)
    pixels = np.asarray(Image.open(view.picture).convert("RGB")).astype(int)
    row = pixels[pixels.shape[0] // 2]
    orange = [x for x, (red, _, blue) in enumerate(row) if red - blue > 60]
    left, right = view.span
    for border in (1, 2, 3):
        expected = left + border * (right - left) / 4
        assert min(abs(x - expected) for x in orange) <= 2
        assert segment_at(expected - 5, view.span, view.times) == border - 1
        assert segment_at(expected + 5, view.span, view.times) == border
    assert segment_at(0, view.span, view.times) == 0 and segment_at(10_000, view.span, view.times) == 3


def test_a_click_finds_segments_of_unlike_lengths_where_they_are():
    times = [(0.0, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.0)]
    assert [segment_at(x, (100, 200), times) for x in (0, 140, 161, 171, 199, 999)] == [0, 0, 1, 2, 3, 3]


def test_the_summary_of_learned_segments_gives_their_average(clip, tmp_path):
    learned = make_model(AudioBranchModel, tiny_config(segmentation="learned"))
    assert view_segments(learned, clip, tmp_path).summary == "4 segments of 0.25 s on average, 12 features each."


def test_a_picture_for_a_phone_is_narrower(model, clip, tmp_path):
    sizes = []
    for width in (9.0, 4.6):
        sizes.append(Image.open(view_segments(model, clip, tmp_path, width).picture).width)
    assert sizes[1] < 0.6 * sizes[0]


def test_a_classifier_has_probabilities_for_each_segment(clip, tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    view = view_segments(model, clip, tmp_path)
    written = json.loads(open(view.json).read())
    times = model.encode(clip).segment_times
    expected = model.encode(clip, spans=times).probabilities  # (S, labels)
    torch.testing.assert_close(torch.tensor(written["probabilities"]), expected)
    assert written["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"] and "Most probable: LABEL_" in view.summary
    assert open(view.probabilities, "rb").read(4) == b"\x89PNG"


def test_a_segment_is_cut_out_at_the_clips_own_rate(clip, tmp_path):
    path = write_segment(clip, 0.25, 0.5, tmp_path / "segment.wav")
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == 44100 and samples.shape == (11025, 2)
    assert np.array_equal(samples, soundfile.read(clip, dtype="int16")[0][11025:22050])


def test_long_and_empty_clips_are_refused_in_one_sentence(model, tmp_path):
    for seconds, words in ((61, "long.wav is longer than 60 s"), (0.001, "longer clip")):
        soundfile.write(tmp_path / "long.wav", np.zeros(int(8000 * seconds)), 8000)
        with pytest.raises(ValueError, match=words):
            view_segments(model, str(tmp_path / "long.wav"), tmp_path)

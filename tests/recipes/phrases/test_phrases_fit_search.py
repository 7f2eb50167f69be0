"""What searching needs to know about a model, measured: tapes, statistics, and which hits are right."""

import numpy as np
import pytest
import soundfile
import torch

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import AudioIndex
from recipes.phrases.audio import SAMPLE_RATE
from recipes.phrases.fit_search import PAUSE_SECONDS, measure_statistics, scored_hits, write_tapes


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config(sample_rate=SAMPLE_RATE, subsampling_factor=4))


def test_clips_are_where_a_tape_says_that_they_start(tmp_path):
    clips = [clip.numpy() for clip in random_clips([4000, 8000, 6000])]
    starts = write_tapes(tmp_path, "x", clips, 2)
    assert starts == [[0.0, 0.5 + PAUSE_SECONDS], [0.0]]
    first, _ = soundfile.read(tmp_path / "x_0000.wav", dtype="float32")
    second = int(starts[0][1] * SAMPLE_RATE)
    np.testing.assert_allclose(first[second : second + 8000], 0.5 * clips[1], atol=1e-3)
    assert (tmp_path / "x_0002.wav").exists()


def test_statistics_are_those_of_all_frames_and_hits_are_right_where_the_phrase_is(tmp_path, model):
    phrases = {("a", str(speaker)): [c.numpy() for c in random_clips([8000, 9000, 10000])] for speaker in range(2)}
    (tmp_path / "tapes").mkdir()
    starts = {key: write_tapes(tmp_path / "tapes", "_".join(key), clips, 3)[0] for key, clips in phrases.items()}
    settings = measure_statistics(model, tmp_path / "tapes", attention_window=2)
    index = AudioIndex(tmp_path / "index", model, settings)
    index.add(tmp_path / "tapes")
    frames = torch.cat(
        [part for key in starts for part in index.recording_frames(tmp_path / f"tapes/{'_'.join(key)}_0000.wav")[0]]
    )
    torch.testing.assert_close(settings.mean, frames.mean(0), atol=1e-5, rtol=0)
    features, right = scored_hits(index, phrases, starts)
    assert features.shape == (len(right), 2) and right.sum() >= 6  # both speakers say the very same
    assert not right.all()

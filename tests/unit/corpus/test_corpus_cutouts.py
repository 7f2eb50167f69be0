"""Hits as sound files."""

import numpy as np
import pytest
import soundfile

from helpers.full_disk import full_disk
from modeling_audio_branch.corpus import Hit, write_cutouts
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.disk import DiskError


def test_each_hit_is_a_file_of_the_recordings_rate_and_channels(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (44100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", samples, 44100)
    hits = [Hit(str(tmp_path / "a.flac"), 0.25, 0.5, 0.9), Hit(str(tmp_path / "a.flac"), 0.9, 1.2, 0.8)]
    paths = write_cutouts(hits, tmp_path / "new" / "hits")
    assert [path.name for path in paths] == ["01_a_0.25s.wav", "02_a_0.90s.wav"]
    first, rate = soundfile.read(paths[0], dtype="float32")
    assert rate == 44100
    np.testing.assert_allclose(first, samples[11025:22050], atol=1e-4)
    assert len(soundfile.read(paths[1])[0]) == 4410  # up to the end


def test_a_recording_that_is_gone_and_a_full_disk_get_a_sentence(tmp_path):
    with pytest.raises(CorpusError, match="a.wav can't be read any more .*; index it again"):
        write_cutouts([Hit(str(tmp_path / "a.wav"), 0, 1, 0.5)], tmp_path)
    soundfile.write(tmp_path / "a.wav", np.zeros(80000), 16000)
    with full_disk(1000), pytest.raises(DiskError, match="cannot be written"):
        write_cutouts([Hit(str(tmp_path / "a.wav"), 0, 1, 0.5)], tmp_path / "hits")
    assert not list((tmp_path / "hits").iterdir())

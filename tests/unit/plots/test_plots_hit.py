"""The picture of a phrase and where it was found."""

import numpy as np
import pytest
import soundfile

from helpers.recordings import RATE, index_model, write_recordings
from modeling_audio_branch.corpus import AudioIndex
from modeling_audio_branch.plots import plot_hit


def test_the_picture_shows_the_similarities_the_alignment_and_both_waveforms(tmp_path):
    files = write_recordings(tmp_path / "recordings", 2, seconds=4.0)
    index = AudioIndex(tmp_path / "db", index_model())
    index.add(files)
    phrase = soundfile.read(files[1], start=RATE, stop=2 * RATE, dtype="float32")[0]
    hit = index.find(phrase, 1, RATE)[0]
    figure = plot_hit(index, phrase, hit, RATE)
    _, above, left, square = figure.axes
    matrix = square.images[0].get_array()
    path = np.array(square.lines[0].get_xdata())
    assert matrix.shape == (25, round(hit.end / 0.04) - round(hit.start / 0.04) + 2 * round(0.5 / 0.04))
    assert (np.diff(path) >= 0).all() and hit.start <= path[0] and path[-1] <= hit.end
    start = square.get_xlim()[0]
    along = [matrix[row, int((time - start) / 0.04)] for row, time in enumerate(path)]
    assert np.mean(along) == pytest.approx(hit.score, abs=1e-3)
    assert above.get_title(loc="left").startswith(f"Found at {hit.start:.2f} s: score {hit.score:.2f}")
    assert len(above.lines[0].get_xdata()) == pytest.approx(RATE * (hit.end - hit.start + 1.0), abs=RATE / 10)
    assert len(left.lines[0].get_xdata()) == RATE

"""Training clips on disk."""

import numpy as np
import pytest

from recipes.phrases import clips
from recipes.phrases.clips import ClipRecord, ClipWriter, load_clips


def test_written_clips_are_loaded_and_missing_ones_name_their_command(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "DATA", tmp_path)
    with pytest.raises(SystemExit, match=r"words\.json is missing; run python -m recipes\.phrases\.words first"):
        load_clips("words", "words")
    writer = ClipWriter()
    writer.add(np.array([0.0, 1.0, -1.0]), "à demain", "fr", "anna")
    writer.add(np.array([0.5]), "à demain", "fr", "espeak+f1")
    writer.save("words")
    records, samples = load_clips("words", "words")
    assert records == [ClipRecord(0, 3, "à demain", "fr", "anna"), ClipRecord(3, 1, "à demain", "fr", "espeak+f1")]
    assert [record.is_synthesized for record in records] == [False, True]
    assert samples.tolist() == [0, 32000, -32000, 16000]

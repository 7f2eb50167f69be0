"""Training clips on disk."""

import numpy as np
import pytest

from helpers.full_disk import full_disk
from modeling_audio_branch.disk import DiskError
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
    assert [record.is_espeak for record in records] == [False, True]
    assert samples.tolist() == [0, 32000, -32000, 16000]


@pytest.mark.parametrize("largest_file", [0, 50, 200])
def test_a_full_disk_is_one_sentence_and_the_clips_count_as_not_written(largest_file, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "DATA", tmp_path)
    writer = ClipWriter()
    for text in "abcdefgh":
        writer.add(np.zeros(8), text, "fr", "anna")
    with pytest.raises(DiskError, match="words.* cannot be written .File too large.; free some space there"):
        with full_disk(largest_file):
            writer.save("words")
    assert not clips.is_written("words") and not list(tmp_path.glob("phrases/.*"))
    writer.save("words")
    assert clips.is_written("words")

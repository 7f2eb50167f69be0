"""Pairs of clips of the same text."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.phrases import make_clips, make_source
from recipes.phrases import clips as clips_on_disk
from recipes.phrases.audio import SAMPLE_RATE
from recipes.phrases.clips import ClipWriter
from recipes.phrases.dataset import Example, PhrasePairs, TrainingClip, choose_pair, collate, load_set


def test_a_pair_is_two_clips_of_one_text():
    data = PhrasePairs(make_clips([4000, 6000]), context=0.0)
    for index, length in enumerate((4000, 6000)):
        examples = [example for _ in range(20) for example in data[index]]
        assert len(data[index]) == 2
        # Up to 1.25 times as fast, or 0.8 times, and unevenly so; a pause; 50 ms cut at both ends, or 0.4 s added.
        assert all(0.45 * length <= len(example.samples) <= 1.6 * length + 8400 for example in examples)
        assert all(example.span == (0.0, len(example.samples) / SAMPLE_RATE) for example in examples)


def test_the_span_of_a_clip_among_others_is_inside_the_samples():
    data = PhrasePairs(make_clips([4000, 6000]), context=1.0)
    for example in (example for _ in range(20) for example in data[1]):
        start, end = example.span
        assert 0 < start < end < len(example.samples) / SAMPLE_RATE
        assert 0.45 * 6000 <= (end - start) * SAMPLE_RATE <= 1.6 * 6000 + 8400


def test_the_same_words_of_two_sources_are_one_text():
    first, (records, samples) = make_clips([4000, 6000]), make_source([3000])
    data = PhrasePairs([*first, *(TrainingClip(record, samples) for record in records)])
    assert [{clip.record.length for clip in clips} for clips in data.texts] == [{4000, 3000}, {6000}]
    clips = [clip.waveform() for clip in data.texts[0] if clip.record.length == 3000]
    np.testing.assert_allclose(np.concatenate(clips), samples / 2**15, rtol=1e-6)


def test_a_pair_is_of_two_voices_where_there_are_two():
    (human, synthesized), samples = make_source([4000])
    records = [human, replace(human, start=4000, length=3999), replace(synthesized, length=2000)]
    (clips,) = PhrasePairs([TrainingClip(record, samples) for record in records]).texts
    pairs = [choose_pair(clips, np.random.default_rng(seed)) for seed in range(30)]
    assert all(len({clip.record.voice for clip in pair}) == 2 for pair in pairs)


def test_a_text_of_one_clip_is_paired_with_itself():
    (clip, _) = make_clips([4000])
    first, second = PhrasePairs([clip])[0]
    assert not np.array_equal(first.samples, second.samples)  # each is augmented in its own way


def test_the_clips_of_a_pair_are_half_a_batch_apart():
    long, short = np.full(3, 2.0, np.float32), np.ones(1, np.float32)
    pairs = [
        (Example(long[:2] / 2, (0.0, 0.1), np.full((8, 4), 1.0)), Example(long, (0.0, 0.2), np.full((8, 4), 2.0))),
        (Example(short, (0.1, 0.3), np.full((8, 4), 3.0)), Example(short, (0.1, 0.4), np.full((8, 4), 4.0))),
    ]
    batch = collate(pairs)
    assert batch["input_features"].tolist() == [[1, 1, 0], [1, 0, 0], [2, 2, 2], [1, 0, 0]]
    assert torch.equal(batch["attention_mask"], batch["input_features"] > 0)
    torch.testing.assert_close(batch["spans"], torch.tensor([[[0.0, 0.1]], [[0.1, 0.3]], [[0.0, 0.2]], [[0.1, 0.4]]]))
    assert batch["teacher"][:, 0, 0].tolist() == [1, 3, 2, 4]
    without = [(replace(pair[0], teacher=None), pair[1]) for pair in pairs]
    assert "teacher" not in collate(without)


def test_a_set_is_loaded_with_the_teachers_features_and_their_absence_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(clips_on_disk, "DATA", tmp_path)
    writer = ClipWriter()
    writer.add(np.ones(4), "a", "fr", "anna")
    writer.add(np.ones(6), "b", "fr", "anna")
    writer.save("words")
    assert [clip.teacher for clip in load_set("words", with_teacher=False)] == [None, None]
    with pytest.raises(SystemExit, match=r"words\.teacher\.npy is missing; run python -m recipes\.phrases\.teacher"):
        load_set("words", with_teacher=True)
    np.save(tmp_path / "phrases" / "words.teacher.npy", np.arange(2 * 8 * 4).reshape(2, 8, 4))
    assert [int(clip.teacher[0, 0]) for clip in load_set("words", with_teacher=True)] == [0, 32]
    with pytest.raises(SystemExit, match=r"free\.json is missing; run python -m recipes\.phrases\.synthesize first"):
        load_set("free", with_teacher=False)

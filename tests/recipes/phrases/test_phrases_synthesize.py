"""Speaking texts with espeak-ng."""

import numpy as np

from recipes.phrases import clips, synthesize
from recipes.phrases.clips import ClipWriter, load_clips
from recipes.phrases.synthesize import SynthesisJob, texts_of_recordings


class Tones:
    """A stand-in for espeak-ng whose clips last as long as their text."""

    variants = ["", "+f1", "+m1"]


def speak(espeak, text, language, number, generator):
    for variant in generator.sample(espeak.variants, number):
        yield f"espeak{variant}", generator.uniform(0.1, 0.9) * np.ones(800 * len(text))


def test_a_texts_clips_depend_on_the_text_alone_and_bad_lengths_are_left_out(monkeypatch):
    monkeypatch.setattr(synthesize, "process_espeak", Tones)
    monkeypatch.setattr(synthesize, "synthesize_voices", speak)
    job = SynthesisJob("quarante", "fr", 2)
    first, second = synthesize.synthesize(job), synthesize.synthesize(job)
    assert [voice for voice, _ in first] == [voice for voice, _ in second] and len(first) == 2
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    assert synthesize.synthesize(SynthesisJob("un", "fr", 2)) == []  # 0.2 s
    assert synthesize.synthesize(SynthesisJob("x" * 70, "fr", 2)) == []  # 7 s


def test_each_text_of_recordings_words_and_dialogues_is_spoken_once(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "DATA", tmp_path)
    monkeypatch.setattr(synthesize, "word_texts", lambda *_: [("oui", "fr"), ("ano", "cs")])
    for name, texts in {"recordings": ["oui", "merci bien", "oui"], "words": ["merci"]}.items():
        writer = ClipWriter()
        for text in texts:
            writer.add(np.ones(4), text, "fr", "anna")
        writer.save(name)
    jobs = texts_of_recordings(3, 2)
    assert [(job.text, job.language) for job in jobs] == [
        *(("oui", "fr"), ("merci bien", "fr"), ("merci", "fr"), ("ano", "cs"))
    ]
    assert {job.voices for job in jobs} == {3}


def test_the_clips_are_written_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clips, "DATA", tmp_path)
    monkeypatch.setattr(synthesize, "process_espeak", Tones)
    monkeypatch.setattr(synthesize, "synthesize_voices", speak)
    jobs = [SynthesisJob("quarante", "fr", 2), SynthesisJob("cuarenta", "es", 3)]
    synthesize.write_clips("free", jobs, processes=1)  # in a forked process
    records, samples = load_clips("free", "synthesize")
    assert [record.language for record in records] == ["fr"] * 2 + ["es"] * 3
    assert len(samples) == 5 * 6400 and all(record.is_espeak for record in records)
    synthesize.write_clips("free", [], processes=1)
    assert "already exists" in capsys.readouterr().out and len(load_clips("free", "synthesize")[0]) == 5

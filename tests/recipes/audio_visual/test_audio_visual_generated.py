"""recipes/audio_visual/generated.py and generated_training.py: a set whose labels need both sides, and its training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recipes.audio_visual import generated, generated_training
from recipes.audio_visual.collator import only
from recipes.audio_visual.generated import RATE, energy_rank, make_clips, read_speech
from recipes.audio_visual.generated_training import Job, make_trainer, run_job, small_config, to_rows

AUDIO = Path(__file__).parents[3] / "examples" / "audio"


@pytest.fixture(scope="module")
def speech():
    return read_speech(sorted(path for path in AUDIO.iterdir() if path.suffix in (".flac", ".wav", ".ogg")))


@pytest.fixture(scope="module")
def rows(speech):
    return to_rows(make_clips(speech, 64, seed=0), small_config("concat"))


def wall_of(clip):
    """Brightness of the wall above the mouth."""
    return float(clip.frames[:, 0].float().mean())


def test_the_mouth_opens_with_or_against_the_energy_as_the_label_says(speech):
    for clip in make_clips(speech, 16, seed=0):
        rank = energy_rank(clip.samples.numpy(), len(clip.frames))
        correlation = np.corrcoef(rank, clip.opening)[0, 1]
        assert correlation > 0.7 if clip.label < 2 else correlation < -0.7  # muffling changes the energy a little
        dark = (clip.frames.float().mean(-1) < 80).float().sum((1, 2)).numpy()  # pixels of the mouth
        assert np.corrcoef(dark, clip.opening)[0, 1] > 0.9


def test_neither_side_alone_has_a_trace_of_the_label(speech):
    clips = make_clips(speech, 400, seed=1)
    labels = np.array([clip.label for clip in clips])
    assert np.bincount(labels).tolist() == [100] * 4
    for clip in clips[:20]:  # at any moment all openings are equally frequent
        np.testing.assert_allclose(np.sort(clip.opening), np.linspace(0, 1, len(clip.opening)), atol=1e-9)
    is_light = np.array([wall_of(clip) > 155 for clip in clips])
    spectra = [np.abs(np.fft.rfft(clip.samples.numpy())) for clip in clips]
    is_clear = np.array([each[len(each) // 4 :].sum() / each.sum() > 1e-3 for each in spectra])  # above 1 kHz
    for found in (is_light, is_clear):
        shares = [found[labels == label].mean() for label in range(4)]
        assert min(shares) > 0.3 and max(shares) < 0.7
    assert ((is_light == is_clear) == (labels % 2 == 0)).all()  # and together they tell one half of it
    either = make_clips(speech, 20, seed=1, task="either")
    assert [clip.label == 0 for clip in either] == [wall_of(clip) > 155 for clip in either]


def test_the_seed_decides_the_set(speech):
    for first, second in zip(make_clips(speech, 6, seed=3), make_clips(speech, 6, seed=3), strict=True):
        assert torch.equal(first.frames, second.frames) and torch.equal(first.samples, second.samples)
    with pytest.raises(ValueError, match="There is no speech in the 0 files"):
        read_speech([])


@pytest.mark.parametrize("fusion", ["cross_attention", "liquid"])
def test_a_continued_training_equals_an_uninterrupted_one_bit_for_bit(fusion, rows, tmp_path):
    config = small_config(fusion, modality_dropout=0.5, dropout=0.2)
    for folder, last in ((tmp_path / "whole", None), (tmp_path / "parts", tmp_path / "whole" / "checkpoint-3")):
        trainer = make_trainer(config, rows, folder, steps=6, seed=1, save_strategy="steps", save_steps=3)
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    whole, parts = (load_file(tmp_path / name / "checkpoint-6" / "model.safetensors") for name in ("whole", "parts"))
    halfway = load_file(tmp_path / "whole" / "checkpoint-3" / "model.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    assert any(not torch.equal(halfway[name], value) for name, value in whole.items())


@pytest.mark.parametrize("fusion", ["gated", "cross_attention", "liquid", "concat"])
def test_fusions_of_segments_learn_which_segments_match_and_that_of_means_does_not(av, fusion):
    """Whether the numbers of both sides rise and fall together, in the fusion alone."""
    torch.manual_seed(0)
    module = av.model(fusion).fusion.train()
    head, embed = torch.nn.Linear(16, 2), [torch.randn(1, 16) for _ in range(2)]
    starts = torch.arange(8) * 0.25
    times = torch.stack([starts, starts + 0.25], -1).expand(128, -1, -1)
    present = torch.ones(128, 2, dtype=torch.bool)
    optimizer = torch.optim.AdamW([*module.parameters(), *head.parameters()], 5e-3)

    def batch():
        curve = torch.randn(128, 8, 1)
        curve = curve - curve.mean(1, keepdim=True)
        labels = torch.randint(2, (128,))
        sides = curve * embed[0], curve * embed[1] * (1 - 2 * labels).view(-1, 1, 1)
        return head(module(*sides, present, times)[0]), labels

    for _ in range(150):
        logits, labels = batch()
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits, labels = batch()
    accuracy = (logits.argmax(-1) == labels).float().mean()
    assert accuracy > 0.9 if fusion != "concat" else accuracy < 0.65


def test_a_job_predicts_with_all_sides_or_with_the_one_it_was_trained_on(rows, monkeypatch, tmp_path):
    monkeypatch.setattr(generated_training, "generated_rows", lambda task: (rows[:32], rows[:8]))
    found = run_job(Job("gated", 0), tmp_path, steps=2)
    assert {side: len(values) for side, values in found.items()} == {"both": 8, "audio": 8, "video": 8}
    assert run_job(Job("gated", 0, side="audio"), tmp_path, steps=2).keys() == {"audio"}
    assert only(rows[:1], "video")[0].keys() == {"pixel_values", "frame_times", "video_mask", "labels"}


def test_speech_keeps_its_power_and_its_rate(speech):
    assert len(speech) > 10 * RATE and 0.5 < np.mean(speech**2) < 2
    assert generated.muffled(speech[:RATE]).shape == (RATE,)

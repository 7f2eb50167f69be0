"""Training from beginning to end."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import typer

from helpers.full_disk import full_disk
from helpers.models import tiny_config
from helpers.strategies import POOLINGS
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from recipes.phrases import clips, development, train
from recipes.phrases.audio import SAMPLE_RATE

AUDIO = Path(__file__).parents[3] / "examples" / "audio"


@pytest.mark.parametrize("pooling_type", POOLINGS)
def test_each_pooling_has_a_configuration_and_those_with_weights_cut_by_a_learned_mass(pooling_type):
    config = train.make_config(pooling_type=pooling_type)
    assert (config.segmentation == "learned") == (pooling_type in ("attention", "avg"))


def test_training_learns_resumes_where_it_ended_and_saves_a_model(tmp_path, monkeypatch):
    recordings = sorted(path for path in AUDIO.iterdir() if path.suffix in (".wav", ".flac"))
    waves = torch.cat([load_audio(path, SAMPLE_RATE) for path in recordings])
    speech = (32000 * waves.clamp(-1, 1)).short().numpy()
    records, start = [], 0
    for text in range(24):
        for voice in ("anna", "espeak", "espeak+f1"):  # the same piece of real speech under three names
            records.append({"text": text, "language": "en", "voice": voice, "start": start, "length": 3200})
        start += 3200
    folder = tmp_path / "data" / "phrases"
    folder.mkdir(parents=True)
    for name in ("recordings", "words"):
        np.save(folder / f"{name}.npy", speech)
        (folder / f"{name}.json").write_text(json.dumps(records))
    paths = []
    for index in range(8):
        paths.append(tmp_path / f"{index}.wav")
        soundfile.write(paths[-1], speech[index * 4000 : index * 4000 + 4000], SAMPLE_RATE)
    small = {"sample_rate": SAMPLE_RATE, "n_fft": 256, "win_length": 200, "hop_length": 80, "dropout": 0.0}
    phrases = {"a": [paths, paths], "b": [paths[:5], paths[3:]]}
    monkeypatch.setattr(clips, "DATA", tmp_path / "data")
    monkeypatch.setattr(development, "kajongg_phrases", lambda: phrases)
    monkeypatch.setattr(development, "gcin_syllables", lambda: [paths, paths])
    monkeypatch.setattr(train, "make_config", lambda **_: tiny_config(d_model=32, n_mels=40, num_segments=4, **small))
    options = {"output": tmp_path / "out", "seconds": 4, "learning_rate": 3e-3, "steps": 100, "development": 100}
    options |= {"sets": ["recordings", "words"], "teacher": False}
    train.main(**options, minutes=0)  # time is up after the first step
    assert [path.name for path in tmp_path.glob("out/training/checkpoint-*")] == ["checkpoint-1"]
    (tmp_path / "out" / "training" / "checkpoint-50").mkdir()  # half-written, as a full disk leaves it
    train.main(**options)
    state = json.loads((tmp_path / "out" / "training" / "checkpoint-100" / "trainer_state.json").read_text())
    losses = [float(entry["loss"]) for entry in state["log_history"] if "loss" in entry]
    assert state["global_step"] == 100 and losses[-1] < 0.7 * math.log(10)  # 10 clips in a batch
    assert [entry["step"] for entry in state["log_history"] if "development" in entry] == [100]
    out = AudioBranchModel.from_pretrained(tmp_path / "out").encode(paths[0])
    assert out.segment_features.shape == (4, 12)


def test_a_full_disk_ends_the_training_in_one_sentence(tmp_path, monkeypatch, capsys):
    def save(*_, **__):
        with full_disk(1000):
            torch.save(torch.zeros(5000), tmp_path / "optimizer.pt")

    monkeypatch.setattr(train, "load_set", lambda *_: [])
    monkeypatch.setattr(train, "DevRetrievalCallback", lambda *_, **__: None)
    monkeypatch.setattr(train, "PhrasePairs", lambda *_: None)
    monkeypatch.setattr(train, "PhraseTrainer", lambda *_, **__: SimpleNamespace(train=save))
    monkeypatch.setattr(train, "make_config", lambda **_: tiny_config())
    with pytest.raises(typer.Exit):
        train.main(tmp_path / "out", steps=1)
    assert f"{tmp_path / 'out'} cannot be written" in capsys.readouterr().err

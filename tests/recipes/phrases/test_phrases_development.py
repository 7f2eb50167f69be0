"""The recordings on which settings are chosen."""

import numpy as np
import soundfile
import torch

from helpers.models import tiny_config
from modeling_audio_branch import AudioBranchModel
from recipes.phrases import development
from recipes.phrases.development import DevelopmentSets, gcin_syllables


def test_no_two_syllables_differ_by_their_tone_alone(tmp_path):
    folder = tmp_path / "gcin-voice" / "ogg"
    for name, files in {"ma1": 2, "ma3": 2, "shi4": 2, "lü2": 2, "one": 1}.items():
        (folder / name).mkdir(parents=True)
        for index in range(files):
            (folder / name / f"{index}.ogg").touch()
    first, second = gcin_syllables(tmp_path)
    assert sorted(path.parent.name.rstrip("1234") for path in first) == ["lü", "ma", "shi"]
    assert [path.parent for path in first] == [path.parent for path in second]
    assert {path.name for path in first} == {"0.ogg"} and {path.name for path in second} == {"1.ogg"}


def test_recall_is_that_of_all_pairs_of_speakers_and_the_model_trains_on(tmp_path, monkeypatch):
    paths, generator = [], np.random.default_rng(0)
    for index in range(6):
        paths.append(tmp_path / f"{index}.wav")
        soundfile.write(paths[-1], generator.uniform(-0.5, 0.5, 4000), 8000)
    monkeypatch.setattr(development, "kajongg_phrases", lambda: {"de": [paths, paths, paths[::-1]]})
    monkeypatch.setattr(development, "gcin_syllables", lambda: [paths, paths])
    torch.manual_seed(0)
    model = AudioBranchModel(tiny_config(sample_rate=8000)).train()
    recall = DevelopmentSets().measure(model)
    assert recall == {"Kajongg": 33.3, "gcin": 100.0}  # one of three pairs of speakers says the phrases in order
    assert model.training

"""The model on Whisper's encoder."""

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file

from modeling_audio_branch import AudioBranchModel
from recipes.phrases import baselines, build_whisper, clips
from recipes.phrases.projection import new_projection


def test_the_saved_model_gives_the_fitted_features_of_the_layer(whisper, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    monkeypatch.setattr(clips, "DATA", tmp_path)
    for module in (build_whisper, baselines):
        monkeypatch.setattr(module, "LAYER", 2)
    with pytest.raises(
        SystemExit, match=r"projection\.safetensors is missing; run python -m recipes\.phrases\.teacher"
    ):
        build_whisper.main(whisper, output)
    projection = new_projection(32)
    (tmp_path / "phrases").mkdir()
    save_file(projection.state_dict(), tmp_path / "phrases" / "projection.safetensors")
    build_whisper.main(whisper, output, max_seconds=2)
    model = AudioBranchModel.from_pretrained(output)
    clip = np.random.default_rng(0).uniform(-0.5, 0.5, 11000).astype(np.float32)  # 1.4 s, in a window of 2
    frozen = baselines.fit(baselines.WhisperFeatures(whisper, 2), tmp_path / "phrases" / "projection.safetensors")
    expected = frozen.encode([clip]).segment_features[0]
    torch.testing.assert_close(model.encode(clip, 8000).segment_features, expected, atol=0.03, rtol=0)
    with pytest.raises(typer.Exit):
        build_whisper.main(whisper, output, max_seconds=31)
    assert "give whole seconds from 1 to 30" in capsys.readouterr().err
    assert (output / "model.safetensors").exists()

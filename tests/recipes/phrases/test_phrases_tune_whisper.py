"""Fine-tuning of the model on Whisper's encoder."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

from modeling_audio_branch import AudioBranchModel
from recipes.phrases import build_whisper, clips, tune_whisper
from recipes.phrases.projection import new_projection


def test_pooling_projection_and_the_last_layer_learn_and_all_else_stays(whisper, tmp_path, monkeypatch):
    folder = tmp_path / "phrases"
    folder.mkdir()
    monkeypatch.setattr(clips, "DATA", tmp_path)
    for module in (build_whisper, tune_whisper):
        monkeypatch.setattr(module, "LAYER", 2)
    save_file(new_projection(32).state_dict(), folder / "projection.safetensors")
    speech = np.random.default_rng(0).integers(-9000, 9000, 24 * 3200).astype(np.int16)
    records = [
        {"text": str(text), "language": "en", "voice": voice, "start": 3200 * text, "length": 3200}
        for text in range(24)
        for voice in ("anna", "espeak")
    ]
    records.append({"text": "long", "language": "en", "voice": "anna", "start": 0, "length": 9000})  # is left out
    for name in ("voices", "free"):
        np.save(folder / f"{name}.npy", speech)
        (folder / f"{name}.json").write_text(json.dumps(records))
    options = {"steps": 2, "seconds": 4, "learning_rate": 1e-2, "max_seconds": 4, "development": 0}
    tune_whisper.main(whisper, tmp_path / "out", **options)
    tuned = AudioBranchModel.from_pretrained(tmp_path / "out")
    before = build_whisper.build(whisper, 4, segmentation="learned").state_dict()
    changed = {name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert any(".layers.1." in name for name in changed) and "projection.1.weight" in changed
    assert "pooling.segmentation.weight" in changed
    assert not any(".layers.0." in name or "conv" in name or "embed_positions" in name for name in changed)
    assert tuned.encode(np.zeros(3 * 16000, np.float32), 16000).segment_features.isfinite().all()

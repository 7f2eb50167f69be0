"""Fine-tuning of a small Whisper encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_audio_branch import AudioBranchModel
from recipes.emotion.resume import last_checkpoint
from recipes.phrases import clips, small_whisper, tune_whisper
from recipes.phrases.dataset import load_set

RATE = 16000


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """Sets of clips of 0.4 s, and one that is too long."""
    monkeypatch.setattr(clips, "DATA", tmp_path)
    folder = tmp_path / "phrases"
    folder.mkdir()
    samples = np.random.default_rng(0).integers(-9000, 9000, 24 * 3200).astype(np.int16)
    records = [
        {"text": str(text), "language": "en", "voice": voice, "start": 3200 * text, "length": 3200}
        for text in range(24)
        for voice in ("anna", "espeak")
    ]
    records.append({"text": "long", "language": "en", "voice": "anna", "start": 0, "length": 17000})
    for name in ("voices", "free"):
        np.save(folder / f"{name}.npy", samples)
        (folder / f"{name}.json").write_text(json.dumps(records))


def train(whisper, folder, **options):
    defaults = {"steps": 3, "seconds": 4, "learning_rate": 1e-2, "frozen": 1, "development": 0}
    small_whisper.main(whisper, folder, **(defaults | options))
    return AudioBranchModel.from_pretrained(folder)


def test_the_last_layers_and_the_pooling_learn_and_all_else_stays(whisper, speech, tmp_path):
    tuned = train(whisper, tmp_path / "out")
    before = AudioBranchModel.from_encoder(whisper, max_seconds=small_whisper.MAX_SECONDS).state_dict()
    state = tuned.state_dict()
    changed = {name for name in state if name.startswith("encoder") and not torch.equal(state[name], before[name])}
    assert any(".layers.1." in name for name in changed)
    assert not any(".layers.0." in name or "conv" in name or "embed_positions" in name for name in changed)
    assert tuned.pooling.segmentation.weight.abs().max() > 0  # it starts at 0
    clip = np.zeros(small_whisper.MAX_SECONDS * RATE, np.float32)
    assert tuned.encode(clip, RATE).segment_features.isfinite().all()
    with pytest.raises(ValueError, match="cut it"):
        tuned.encode(np.append(clip, 0.0), RATE)


def test_long_clips_are_left_out_and_windows_are_no_longer_than_needed(whisper, speech, tmp_path, monkeypatch):
    used, windows, window, pairs = [], [], small_whisper.window, tune_whisper.PhrasePairs
    monkeypatch.setattr(tune_whisper, "PhrasePairs", lambda clips, **rest: used.append(clips) or pairs(clips, **rest))
    monkeypatch.setattr(small_whisper, "window", lambda model, length: windows.append(length) or window(model, length))
    train(whisper, tmp_path / "out")
    assert len(used[0]) == 96 and {clip.record.length for clip in used[0]} == {3200}
    assert len(windows) == 3 and {*windows} <= {1, 2}  # 0.4 s, at most slower by 1.25 and padded by 0.8 s


def test_a_training_that_was_stopped_goes_on_where_it_was(whisper, speech, tmp_path):
    folder, steps = tmp_path / "out", []
    for minutes in (0, 180):
        train(whisper, folder, minutes=minutes)
        state = json.loads((Path(last_checkpoint(folder / "training")) / "trainer_state.json").read_text())
        steps.append(state["global_step"])
    assert steps == [1, 3]


def test_a_shorter_window_is_that_of_a_model_for_shorter_clips(whisper):
    settings = {"feature_dim": 16, "pooling_type": "avg", "use_temporal_encoding": False}
    long, short = (AudioBranchModel.from_encoder(whisper, max_seconds=seconds, **settings).eval() for seconds in (6, 2))
    short.projection.load_state_dict(long.projection.state_dict())
    clip = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, 20000).astype(np.float32))[None]
    with torch.no_grad():
        before = long(clip).segment_features
        with small_whisper.window(long, 2):
            assert torch.equal(long(clip).segment_features, short(clip).segment_features)
        assert torch.equal(long(clip).segment_features, before)
    assert long.encoder.model.config.max_source_positions == 300


def test_the_projection_starts_with_standardised_features(whisper, speech):
    model = AudioBranchModel.from_encoder(whisper, max_seconds=6, feature_dim=2000, pooling_type="avg").eval()
    small_whisper.standardise(model, load_set("free", with_teacher=False))
    outputs = []
    model.projection[1].register_forward_hook(lambda module, inputs, output: outputs.append(output))
    waves = [clip.waveform() for clip in load_set("free", with_teacher=False)]
    small_whisper.embed(model, waves)
    features = torch.cat(outputs).flatten(0, 1)
    torch.testing.assert_close(features.mean(), torch.tensor(0.0), atol=0.02, rtol=0)
    torch.testing.assert_close(features.var(0).mean(), torch.tensor(1.0), atol=0.2, rtol=0)

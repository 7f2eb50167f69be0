"""A frozen Whisper encoder's features of clips."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from torchaudio.functional import resample
from transformers import WhisperFeatureExtractor, WhisperModel

from recipes.phrases import clips, teacher
from recipes.phrases.baselines import WhisperFeatures, whisper_baselines
from recipes.phrases.clips import ClipWriter
from recipes.phrases.teacher import WhisperTeacher


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """Five clips of noise on disk, as recordings."""
    monkeypatch.setattr(clips, "DATA", tmp_path)
    generator, writer = np.random.default_rng(0), ClipWriter()
    for seconds in (0.4, 1.2, 1.6, 3.0, 5.0):
        writer.add(generator.uniform(-0.5, 0.5, int(8000 * seconds)), f"{seconds}", "fr", "anna")
    writer.save("recordings")
    return clips.load_clips("recordings", "prepare")


def reference(folder, clip, window, layer):
    """The same by Transformers' own feature extractor and the states of all layers."""
    encoder = WhisperModel.from_pretrained(folder).encoder.eval()
    wave = resample(torch.from_numpy(clip), 8000, 16000)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=window)
    features = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    encoder.config.max_source_positions = window * 50
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(encoder.embed_positions.weight.data[: window * 50])
    with torch.no_grad():
        states = encoder(features, output_hidden_states=True).hidden_states[layer][0]
    return F.adaptive_avg_pool1d(states[: -(-len(wave) // 320)].T, 8).T


@pytest.mark.parametrize("layer", [2, None])
def test_the_features_are_those_of_transformers(whisper, speech, layer):
    records, samples = speech
    model = WhisperTeacher(whisper, torch.device("cpu"), layer)
    pieces = [samples[each.start : each.start + each.length].astype(np.float32) / 2**15 for each in records[:2]]
    found = model.segments(pieces, 2)
    for clip, each in zip(pieces, found, strict=True):
        expected = reference(whisper, clip, 2, -1 if layer is None else layer)
        torch.testing.assert_close(each, expected, atol=2e-3, rtol=0)


def test_every_clip_gets_features_that_do_not_depend_on_the_order(whisper, speech):
    records, samples = speech
    model = WhisperTeacher(whisper, torch.device("cpu"))
    pieces = [samples[each.start : each.start + each.length].astype(np.float32) / 2**15 for each in records]
    features = model.embed(pieces[::-1], "clips")[::-1]
    for clip, window, each in zip(pieces, (1.0, 2.0, 2.5, 3.5, 5.5), features, strict=True):
        assert np.abs(model.segments([clip], window)[0].numpy() - each).max() < 0.02  # float16


def test_features_are_kept_when_the_command_stops_and_made_anew_for_new_clips(whisper, speech, tmp_path, monkeypatch):
    projection = torch.nn.Sequential(torch.nn.LayerNorm(32), torch.nn.Linear(32, 32), torch.nn.GELU())
    monkeypatch.setattr(teacher, "fit_projection", lambda _: projection)
    monkeypatch.setattr(teacher, "FREE_SETS", ("recordings",))
    teacher.main(whisper, sets=[])
    path = tmp_path / "phrases" / "recordings.teacher.npy"
    embedded = np.load(path).astype(np.float32)
    raw = torch.from_numpy(np.load(tmp_path / "phrases" / "recordings.whisper.npy").astype(np.float32))
    projection.load_state_dict(load_file(tmp_path / "phrases" / "projection.safetensors"))
    expected = F.normalize(projection(raw), dim=-1).detach().numpy()
    assert embedded.shape == (5, 8, 32) and np.abs(expected - embedded).max() < 0.01
    monkeypatch.setattr(WhisperTeacher, "embed", lambda *_: pytest.fail("computed again"))
    path.unlink()
    teacher.main(whisper, sets=[])
    assert np.abs(np.load(path) - embedded).max() < 0.01
    writer = ClipWriter()
    writer.add(np.full(8000, 0.5), "another", "fr", "anna")
    writer.save("recordings")
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        teacher.main(whisper, sets=[])


def test_the_projection_is_fitted_on_the_free_sets_alone(whisper, speech, monkeypatch):
    writer = ClipWriter()
    for name in teacher.FREE_SETS:
        writer.add(np.full(8000, 0.5), name, "en", "kokoro")
        writer.save(name)
    fitted = []
    monkeypatch.setattr(teacher, "fit_projection", lambda clips: fitted.extend(clips) or torch.nn.Identity())
    teacher.main(whisper, sets=["recordings"])
    assert {each.record.text for each in fitted} == {"voices", "free"}
    assert all(each.teacher.shape == (8, 32) for each in fitted)


def test_a_baseline_is_standardised_by_training_recordings_and_a_wrong_name_is_a_sentence(whisper, speech):
    rows = whisper_baselines(f"{whisper}:2")
    assert list(rows) == [f"{whisper.name}, layer 2", f"{whisper.name}, layer 2, standardised"]
    raw, standardised = rows.values()
    records, samples = speech
    pieces = [samples[each.start : each.start + each.length].astype(np.float32) / 2**15 for each in records]
    features = standardised.encode(pieces, batch_size=3).segment_features
    torch.testing.assert_close(features.flatten(0, 1).mean(0), torch.zeros(32), atol=1e-4, rtol=0)
    expected = raw.encode(pieces).segment_features
    expected = (expected - expected.mean((0, 1))) / expected.std((0, 1), correction=1)
    torch.testing.assert_close(features, expected, atol=1e-2, rtol=0)
    long = WhisperFeatures(whisper, None)([np.zeros(8000 * 40, np.float32)])
    assert long.shape == (1, 8, 32) and long.isfinite().all()
    with pytest.raises(ValueError, match="--whisper base was given; give FOLDER:LAYER, such as whisper-base:5"):
        whisper_baselines("base")


def test_baselines_of_an_encoder_compute_the_features_of_a_clip_once(whisper, speech, monkeypatch):
    rows = whisper_baselines(f"{whisper}:2")
    generator = np.random.default_rng(1)
    pieces = [generator.uniform(-0.5, 0.5, size).astype(np.float32) for size in (4000, 9000, 4000)]
    computed, embed = [], WhisperTeacher.embed
    monkeypatch.setattr(WhisperTeacher, "embed", lambda self, new, _: (computed.extend(new), embed(self, new, ""))[1])
    found = [row.encode(pieces).segment_features for row in rows.values()]
    assert len(computed) == 3
    again = [row.encode(pieces[1:] + pieces[:1]).segment_features for row in rows.values()]
    assert len(computed) == 3
    for first, second in zip(found, again, strict=True):
        torch.testing.assert_close(first[[1, 2, 0]], second, atol=0, rtol=0)
    assert not torch.equal(*found)

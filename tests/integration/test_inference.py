"""`encode`, the pipelines, and the sentences that wrong inputs get."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.models import make_model, pad, random_clips, tiny_config
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import pipeline

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
    audio_input,
)
from modeling_audio_branch import modeling_audio_branch as modeling

RATE = 16000
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config(subsampling_factor=4))


def test_the_readmes_first_example_gives_the_shapes_that_it_prints(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    names = {}
    shapes = 0
    for line in code.splitlines():
        if "# torch.Size" in line:
            expression, comment = line.split("#", 1)
            assert comment.strip().startswith(str(eval(expression, names)))
            shapes += 1
        else:
            exec(line, names)
    assert shapes == 3


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("normalize", ["per_feature", "none"])
def test_a_long_file_is_read_block_by_block_and_gives_the_same(tmp_path, monkeypatch, channels, normalize):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4, attention_window=8, normalize=normalize))
    clips = [clip.numpy() for clip in random_clips([70000, 20000, 48011])]
    for index, clip in enumerate(clips):
        soundfile.write(tmp_path / f"{index}.wav", np.stack([clip] * channels, 1), 16000, subtype="FLOAT")
    paths = [tmp_path / f"{index}.wav" for index in range(3)]
    expected = model.encode(paths)
    loaded = []
    load = modeling.load_audio
    monkeypatch.setattr(modeling, "load_audio", lambda clip, *rest: loaded.append(clip) or load(clip, *rest))
    monkeypatch.setattr(modeling, "LONG_SECONDS", 2)
    monkeypatch.setattr(audio_input, "BLOCK_SECONDS", 1)
    got = model.encode(paths)
    assert loaded == [paths[1]]
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=1e-5, rtol=0, msg=name)


def test_raw_audio_gives_eight_segments():
    out = AudioBranchModel(AudioBranchConfig.lightweight())(torch.randn(4, 48000))
    assert out.segment_features.shape == out["segment_features"].shape == (4, 8, 512)
    assert out.segment_times[0, -1, 1] == 3.0


@example([516, 480], 2)  # three frames: their small deviation shows how the filters' product is rounded
@given(st.lists(st.integers(160, 9000), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=10)
def test_encode_gives_each_clip_its_own_features_in_the_order_of_the_input(lengths, batch_size):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4))
    clips = random_clips(lengths)
    encoded = model.encode(clips, sampling_rate=RATE, batch_size=batch_size)
    for i, clip in enumerate(clips):
        alone = model.encode(clip, sampling_rate=RATE)
        with torch.no_grad():
            expected = model(clip[None])
        for name in ("segment_features", "segment_times", "segment_mask", "pooler_output"):
            torch.testing.assert_close(encoded[name][i], expected[name][0], atol=1e-5, rtol=0, msg=name)
            torch.testing.assert_close(alone[name], expected[name][0], atol=1e-5, rtol=0, msg=name)


def test_encode_takes_files_and_resamples(model, tmp_path):
    clip = torch.sin(torch.arange(32000) / 20).numpy()
    soundfile.write(tmp_path / "a.flac", clip, 32000)
    from_file = model.encode(tmp_path / "a.flac")
    from_array = model.encode({"array": clip, "sampling_rate": 32000})
    torch.testing.assert_close(from_file.segment_features, from_array.segment_features, atol=1e-2, rtol=0)
    assert from_file.segment_times[-1, 1] == 1.0


def test_encode_leaves_the_mode_as_it_was_even_after_an_error(model):
    model.train()
    model.encode(random_clips([4000]), sampling_rate=RATE)
    assert model.training
    with pytest.raises(ValueError, match="Clip 1 of the batch is an array without a sampling rate"):
        model.encode([{"array": np.zeros(800), "sampling_rate": RATE}, np.zeros(800)])
    assert model.training and model.encoder.layers[0].training
    model.eval()


def test_encode_shows_progress_when_asked(model, capsys):
    model.encode(random_clips([4000, 5000, 6000]), sampling_rate=RATE, batch_size=1, show_progress=True)
    assert "Encoding: 100%" in capsys.readouterr().err
    model.encode(random_clips([4000, 5000, 6000]), sampling_rate=RATE, batch_size=1, show_progress=False)
    assert "Encoding" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        ({}, ValueError, "Give either input_features or input_values"),
        ({"input_features": torch.zeros(1, 800), "input_values": torch.zeros(1, 800)}, ValueError, "and not both"),
        ({"input_features": torch.zeros(800)}, ValueError, "give floating-point raw audio (batch, samples) or log-mel"),
        ({"input_features": torch.zeros(1, 9, 80)}, ValueError, "log-mel frames (batch, frames, 20)"),
        ({"input_features": torch.zeros(1, 800, dtype=torch.int16)}, ValueError, "The input is torch.int16"),
        (
            {"input_features": torch.zeros(2, 800), "attention_mask": torch.ones(2, 5)},
            ValueError,
            "attention_mask has the shape (2, 5); give (2, 800), one number per sample",
        ),
        (
            {"input_features": torch.zeros(1, 3, 20), "attention_mask": torch.tensor([[0, 1, 1]])},
            ValueError,
            "attention_mask has a 1 after a 0; pad on the right",
        ),
        (
            {"input_features": torch.zeros(1, 800), "padding_mask": torch.ones(1, 800)},
            TypeError,
            "does not know padding_mask",
        ),
    ],
)
def test_a_wrong_input_gives_one_sentence(model, inputs, error, sentence):
    with pytest.raises(error) as raised:
        model(**inputs)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("pooling_type", ["attention", "max", "avg", "learnable"])
@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("attention_window", [None, 3])
def test_attentions_are_given_when_asked_and_are_distributions(pooling_type, attn_implementation, attention_window):
    config = tiny_config(pooling_type=pooling_type, attention_window=attention_window)
    model = make_model(AudioBranchModel, config)
    model.set_attn_implementation(attn_implementation)
    waveform, mask = pad(random_clips([4000, 9000]))
    with torch.no_grad():
        plain, output = model(waveform, mask), model(waveform, mask, output_attentions=True)
    assert "attentions" not in plain and "pooling_attentions" not in plain
    assert len(output.attentions) == config.num_layers
    torch.testing.assert_close(output.attentions[0].sum(-1), torch.ones_like(output.attentions[0][..., 0]))
    if pooling_type == "max":
        assert output.pooling_attentions is None
    else:
        weights = output.pooling_attentions
        assert weights.shape == (2, config.num_heads if pooling_type == "attention" else 1, 4, 57)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert (weights.sum((1, 2)) > 0).int().equal(output.attention_mask)
    torch.testing.assert_close(output.segment_features, plain.segment_features, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder of a model and one of a classifier."""
    folders = []
    for model_class in (AudioBranchModel, AudioBranchForAudioClassification):
        config = tiny_config(subsampling_factor=2, id2label={0: "calm", 1: "happy", 2: "sad"})
        folders.append(tmp_path_factory.mktemp(model_class.__name__))
        make_model(model_class, config).save_pretrained(folders[-1])
        AudioBranchFeatureExtractor.from_model_config(config).save_pretrained(folders[-1])
    return [str(folder) for folder in folders]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_embedding_pipeline_equals_the_model_for_every_form_of_audio(checkpoints, batch_size, tmp_path):
    embed = pipeline("audio-segment-embedding", model=checkpoints[0], trust_remote_code=True, batch_size=batch_size)
    clips = [clip.numpy() for clip in random_clips([4000, 9000, 5000])]
    soundfile.write(tmp_path / "a.wav", clips[0], RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.stack([clips[1]] * 2, 1), RATE, subtype="FLOAT")
    audio = [str(tmp_path / "a.wav"), (tmp_path / "b.wav").read_bytes(), {"raw": clips[2], "sampling_rate": RATE}]
    expected = AudioBranchModel.from_pretrained(checkpoints[0]).encode(clips, sampling_rate=RATE)
    for i, result in enumerate(embed(audio)):
        assert set(result) == {"segment_features", "segment_times", "segment_mask", "pooler_output"}
        for name, value in result.items():
            np.testing.assert_allclose(value, expected[name][i].numpy(), atol=1e-5)
    single = embed(clips[0], sampling_rate=RATE, return_tensors=True)["segment_features"]
    torch.testing.assert_close(single, expected.segment_features[0], atol=1e-5, rtol=0)


def test_the_feature_extraction_pipeline_gives_segment_features(checkpoints):
    extract = pipeline("feature-extraction", model=checkpoints[0], trust_remote_code=True)
    clip = random_clips([4000])[0].numpy()
    expected = AudioBranchModel.from_pretrained(checkpoints[0]).encode(clip, sampling_rate=RATE).segment_features
    np.testing.assert_allclose(extract(clip, sampling_rate=RATE), expected, atol=1e-5)
    assert torch.is_tensor(extract(clip, sampling_rate=RATE, return_tensors=True))


def test_the_classification_pipeline_takes_files_of_any_rate_without_ffmpeg(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    classify = pipeline("audio-classification", model=checkpoints[1], trust_remote_code=True)
    soundfile.write(tmp_path / "a.ogg", random_clips([22050])[0].numpy(), 22050)
    scores = classify(str(tmp_path / "a.ogg"), top_k=2)
    assert len(scores) == 2 and {score["label"] for score in scores} <= {"calm", "happy", "sad"}
    many = classify([str(tmp_path / "a.ogg")] * 2, batch_size=2)
    assert [score["label"] for score in many[0][:2]] == [score["label"] for score in scores]
    with pytest.raises(ValueError, match="array without a sampling rate"):
        classify(np.zeros(800, dtype=np.float32))


def test_the_package_registers_its_pipeline_for_model_objects(checkpoints):
    model = AudioBranchModel.from_pretrained(checkpoints[0])
    extractor = AudioBranchFeatureExtractor.from_pretrained(checkpoints[0])
    embed = pipeline("audio-segment-embedding", model=model, feature_extractor=extractor)
    assert embed(np.zeros(4000), sampling_rate=RATE)["segment_features"].shape == (4, 12)

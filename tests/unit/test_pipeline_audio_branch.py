"""The pipelines equal the model for every form of audio."""

from collections import deque

import numpy as np
import pytest
import soundfile
import torch
from transformers import pipeline

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)

RATE = 16000


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


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("task", ["audio-segment-embedding", "audio-classification"])
def test_a_pipeline_knows_the_lengths_so_that_no_gpu_is_asked(checkpoints, batch_size, task, monkeypatch):
    checkpoint = checkpoints[task == "audio-classification"]
    run = pipeline(task, model=checkpoint, trust_remote_code=True, batch_size=batch_size)
    forward, lengths = run.model.forward, []
    monkeypatch.setattr(run.model, "forward", lambda **kwargs: lengths.append(kwargs["lengths"]) or forward(**kwargs))
    list(run([clip.numpy() for clip in random_clips([4000, 9000, 5000])], sampling_rate=RATE))
    assert lengths == ([[25], [56], [31]] if batch_size == 1 else [[25, 56], [31]])


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


@pytest.mark.parametrize("task", ["audio-segment-embedding", "feature-extraction", "audio-classification"])
def test_a_list_of_numbers_is_one_clip_and_other_containers_are_batches(checkpoints, task):
    folder = checkpoints[task == "audio-classification"]
    run = pipeline(task, model=folder, trust_remote_code=True, device="cpu")
    clips = [clip.numpy() for clip in random_clips([4000, 4000, 4000])]
    expected = [run(clip, sampling_rate=RATE) for clip in clips]

    def assert_same(got, wanted):
        np.testing.assert_equal(repr(got), repr(wanted))

    assert_same(run(clips[0].tolist(), sampling_rate=RATE), expected[0])
    for batch in (clips, tuple(clips), np.stack(clips), torch.from_numpy(np.stack(clips)), deque(clips)):
        assert_same([*run(batch, sampling_rate=RATE)], expected)
    assert_same([*run(iter(clips), sampling_rate=RATE)], expected)
    assert_same([*run((clip for clip in clips), sampling_rate=RATE)], expected)
    with pytest.raises(ValueError, match="An empty list was given as audio"):
        run([])
    with pytest.raises(ValueError, match="such as 16000 for 16 kHz"):
        run(clips[0], sampling_rate=16)

"""The exported folder: its files, refusals, nothing left after an error."""

import json
import sys

import numpy as np
import pytest
import soundfile
import torch

from helpers.models import make_model, tiny_config
from helpers.recordings import write_recordings
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.export import ExportError, export_model, folder


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config())


def test_a_folder_tells_how_it_is_called(model, tmp_path):
    report = export_model(model, tmp_path / "out", "torchscript", revision="abc")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("README.md", "model_torchscript.pt", "preprocess.json")
    ]
    about = json.loads((tmp_path / "out" / "preprocess.json").read_text())
    assert about["input"] == "input_values" and about["sampling_rate"] == 16000 and about["revision"] == "abc"
    assert about["outputs"] == ["segment_features", "segment_times", "segment_mask", "pooler_output"]
    assert about["largest_difference"] == report.difference and about["labels"] is None


def test_a_classifier_tells_its_labels(tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=2))
    export_model(model, tmp_path / "out", "torchscript")
    about = json.loads((tmp_path / "out" / "preprocess.json").read_text())
    assert about["labels"] == ["LABEL_0", "LABEL_1"] and about["outputs"][-1] == "logits"


def test_wrong_numbers_stop_the_export_and_nothing_is_left(model, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "largest_difference", lambda *_: 0.01)
    with pytest.raises(ExportError, match="differs from the model by 0.01"):
        export_model(model, tmp_path / "out", "torchscript")
    assert not (tmp_path / "out").exists()


def test_learned_segments_stay_near_in_int8(tmp_path):
    model = make_model(AudioBranchModel, tiny_config(segmentation="learned", d_model=64))
    report = export_model(
        model, tmp_path / "out", int8=True, audio=write_recordings(tmp_path / "audio", 2, seconds=1.0)
    )
    assert report.int8_cosine[0] > 0.99


def test_int8_that_changes_too_much_stops_the_export(model, tmp_path, monkeypatch):
    files = write_recordings(tmp_path / "audio", 2, seconds=1.0)
    report = export_model(model, tmp_path / "good", int8=True, audio=files)
    assert report.int8_path.is_file() and report.int8_cosine[1] <= report.int8_cosine[0] <= 1
    about = json.loads((tmp_path / "good" / "preprocess.json").read_text())
    assert about["int8_cosine"] == list(report.int8_cosine)
    soundfile.write(tmp_path / "short.wav", np.zeros(10), 16000)
    with pytest.raises(ExportError, match="short.wav is too short for a frame"):
        export_model(model, tmp_path / "bad", int8=True, audio=[*files, tmp_path / "short.wav"])
    monkeypatch.setattr(folder, "MEAN_COSINE", 1.1)
    monkeypatch.setattr(folder, "write_onnx", lambda exportable, path, about: path.write_bytes(onnx_bytes))
    onnx_bytes = report.path.read_bytes()
    with pytest.raises(ExportError, match="int8 changes this model too much: on 2 recordings"):
        export_model(model, tmp_path / "bad", int8=True, audio=files)
    assert not (tmp_path / "bad").exists()


def test_what_can_not_be_exported_is_said_before_anything_is_written(model, tmp_path, monkeypatch):
    with pytest.raises(ExportError, match="--int8 goes with the formats onnx and openvino, not torch"):
        export_model(model, tmp_path / "out", "torch", int8=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ExportError, match="not empty"):
        export_model(model, tmp_path / "full")
    with pytest.raises(ExportError, match="all_features"):
        export_model(make_model(AudioBranchModel, tiny_config(normalize="all_features")), tmp_path / "out", "openvino")
    with pytest.raises(ExportError, match="give one of onnx, torch, aoti, torchscript, openvino"):
        export_model(model, tmp_path / "out", "coreml")
    with pytest.raises(ExportError, match="source='Raw' was given"):
        export_model(model, tmp_path / "out", "torchscript", source="Raw")
    with pytest.raises(ExportError, match="give --int8 too"):
        export_model(model, tmp_path / "out", "torchscript", audio=["a.wav"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs onnxscript; pip install 'audio-branch\[export\]'"):
        export_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_in_training_mode_and_half_precision_is_exported_as_it_evaluates(model, tmp_path):
    training = make_model(AudioBranchModel, tiny_config(dropout=0.3)).half().train()
    report = export_model(training, tmp_path / "out", "torchscript")
    assert report.difference <= 1e-4 and training.training and training.dtype == torch.float16
    assert np.isfinite(report.difference)

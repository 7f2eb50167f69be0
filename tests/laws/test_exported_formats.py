"""Laws of export: every format gives the model's numbers, for batches and lengths that were not traced.

Tests export/torch_formats.py, export/onnx_format.py and export/errors.py.
"""

import numpy as np
import pytest
import torch
from transformers import HubertConfig, Wav2Vec2Config, WhisperConfig

from helpers.encoders import CONVOLUTIONS, LAYER_NORM, SIZES, WHISPER
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.nemo_archives import ARCHIVES, NEMO
from modeling_audio_branch import AudioBranchConfig, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.export import export_model
from modeling_audio_branch.export.folder import FILES, RUN, Format

PLAIN = {}
RELATIVE = {"position_embedding": "relative", "subsampling_factor": 4, "pooling_type": "avg"}
WINDOWED = {"position_embedding": "relative", "subsampling_factor": 2, "attention_window": 4, "pooling_type": "max"}
CHUNKED = {"attention_window": [4, 3], "attention_chunked": True, "pooling_type": "learnable"}
GLOBAL = {"position_embedding": "none", "attention_window": 4, "global_attention": "separate", "conv_norm": "batch"}
CAUSAL = {
    **{"subsampling": "striding", "subsampling_factor": 4, "conv_context": [4, 0], "attention_window": [8, 0]},
    "causal_subsampling": True,
}
FRONT_END = {"normalize": "all_features", "mag_power": 1.0, "log_zero_guard_type": "clamp", "preemphasis": 0.0}
LEARNED = {"segmentation": "learned", "subsampling_factor": 4}
LAYERS = {"normalize": "none", "use_weighted_layer_sum": True, "use_bias": False, "use_temporal_encoding": False}
ALL = [PLAIN, RELATIVE, WINDOWED, CHUNKED, GLOBAL, CAUSAL, FRONT_END, LAYERS, LEARNED]


def assert_same_numbers(model, folder, format, source="raw", spans=False):
    report = export_model(model, folder, format, source, spans=spans)
    assert report.difference <= 1e-4
    if source != "raw":
        return
    run = RUN[Format(format)](folder / FILES[Format(format)])  # and once more, not by the check of the export itself
    for lengths in ([16000], [2000, 31234, 8000, 12345]):
        waveform, mask = pad(random_clips(lengths), value=7.0)
        segments, times, valid, pooled, *_ = run(waveform.numpy(), mask.numpy())
        for row, (length, clip) in enumerate(zip(lengths, random_clips(lengths), strict=True)):
            with torch.no_grad():
                alone = model.base_model(clip[None, :length])
            np.testing.assert_allclose(segments[row], alone.segment_features[0], atol=1e-4)
            np.testing.assert_allclose(times[row], alone.segment_times[0], atol=1e-6)
            np.testing.assert_allclose(pooled[row], alone.pooler_output[0], atol=1e-4)
        assert (valid == 1).all()


@pytest.mark.parametrize("choices", ALL)
def test_onnx_equals_the_model(choices, tmp_path):
    assert_same_numbers(make_model(AudioBranchModel, tiny_config(**choices)), tmp_path, "onnx")


@pytest.mark.parametrize("choices", ALL)
def test_torchscript_equals_the_model(choices, tmp_path):
    assert_same_numbers(make_model(AudioBranchModel, tiny_config(**choices)), tmp_path, "torchscript")


@pytest.mark.parametrize("choices", [WINDOWED, CAUSAL, LEARNED])
def test_torch_export_equals_the_model(choices, tmp_path):
    assert_same_numbers(make_model(AudioBranchModel, tiny_config(**choices)), tmp_path, "torch")


@pytest.mark.parametrize("choices", [RELATIVE, CHUNKED, LEARNED])
def test_openvino_equals_the_model(choices, tmp_path):
    assert_same_numbers(make_model(AudioBranchModel, tiny_config(**choices)), tmp_path, "openvino")


def test_compiled_code_equals_the_model(tmp_path):
    assert_same_numbers(make_model(AudioBranchModel, tiny_config(num_layers=1)), tmp_path, "aoti")


def assert_same_spans(model, folder, format):
    assert export_model(model, folder, format, spans=True).difference <= 1e-4
    run = RUN[Format(format)](folder / FILES[Format(format)])
    for lengths, spans in (
        ([16000], [[[0.0, 1.0]]]),
        ([31234, 9000, 8000], [[[0.5, 1.5], [0.0, 0.3], [1.2, 1.95]], [[0.2, 0.25], [0.0, 0.56]], [[0.101, 0.4]]]),
    ):
        clips, longest = random_clips(lengths), max(map(len, spans))
        waveform, mask = pad(clips, value=7.0)
        filled = np.zeros((len(clips), longest, 2), np.float32)
        for row, pairs in enumerate(spans):
            filled[row, : len(pairs)] = pairs
        segments, times, valid, pooled, *logits = run(waveform.numpy(), mask.numpy(), filled)
        for row, (clip, pairs) in enumerate(zip(clips, spans, strict=True)):
            with torch.no_grad():
                alone = model.base_model(clip[None], spans=[pairs])
            inside = slice(0, len(pairs))
            np.testing.assert_allclose(segments[row, inside], alone.segment_features[0], atol=1e-4)
            np.testing.assert_allclose(times[row, inside], alone.segment_times[0], atol=1e-6)
            np.testing.assert_allclose(pooled[row, inside], alone.pooler_output[0], atol=1e-4)
            assert valid[row].all(-1).tolist() == [True] * len(pairs) + [False] * (longest - len(pairs))
            assert not segments[row, len(pairs) :].any() and not times[row, len(pairs) :].any()
    assert all(each.shape == (*pooled.shape[:2], 3) for each in logits)


@pytest.mark.parametrize(
    ("format", "choices"),
    [
        ("onnx", PLAIN),
        ("onnx", LEARNED),
        ("onnx", {"subsampling_factor": 4, "pooling_type": "max"}),
        ("torch", {"subsampling_factor": 2, "pooling_type": "avg"}),
        ("openvino", {"subsampling_factor": 4, "pooling_type": "learnable"}),
    ],
)
def test_spans_of_exported_models_equal_those_of_the_model(format, choices, tmp_path):
    assert_same_spans(make_model(AudioBranchModel, tiny_config(**choices)), tmp_path, format)


@pytest.mark.parametrize("pooling_type", ["attention", "max", "avg", "learnable"])
def test_spans_of_an_exported_classifier_equal_those_of_the_model(pooling_type, tmp_path):
    config = tiny_config(num_labels=3, pooling_type=pooling_type, subsampling_factor=8)
    assert_same_spans(make_model(AudioBranchForAudioClassification, config), tmp_path, "torchscript")


@pytest.mark.parametrize("archive", ARCHIVES)
def test_converted_nemo_archives_are_exported(archive, tmp_path):
    model = AudioBranchModel.from_nemo(NEMO / archive / "model.nemo").eval()
    assert_same_numbers(model, tmp_path / "torchscript", "torchscript")
    if archive == "fc_ctc_bpe":
        assert_same_numbers(model, tmp_path / "onnx", "onnx")


@pytest.mark.parametrize(
    "encoder",
    [
        Wav2Vec2Config(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
        HubertConfig(**SIZES, **CONVOLUTIONS),
        WhisperConfig(**WHISPER),
    ],
    ids=lambda config: config.model_type,
)
def test_encoders_of_transformers_are_exported_from_their_features(encoder, tmp_path):
    config = AudioBranchConfig(encoder_config=encoder, feature_dim=12, num_heads=2)
    model = make_model(AudioBranchModel, config)
    for format in ("onnx", "torch", "torchscript"):
        assert_same_numbers(model, tmp_path / format, format, source="features")
    assert_same_numbers(model, tmp_path / "spans", "torch", source="features", spans=True)


def test_a_classifier_gives_its_logits_too(tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    assert_same_numbers(model, tmp_path / "raw", "torchscript")
    assert_same_numbers(model, tmp_path / "features", "torchscript", source="features")
    run = RUN[Format.TORCHSCRIPT](tmp_path / "raw" / FILES[Format.TORCHSCRIPT])
    clip = random_clips([9000])[0][None]
    with torch.no_grad():
        expected = model(clip).logits
    np.testing.assert_allclose(run(clip.numpy(), np.ones(clip.shape, np.int64))[4], expected, atol=1e-4)

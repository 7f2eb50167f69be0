"""An exported folder encodes audio of any form, with and without torch; its README runs as printed.

Tests export/onnx_model.py, export/onnx_inference.py and export/readme.py.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export import ExportError, OnnxModel, export_model
from modeling_audio_branch.export.onnx_inference import Embedder, read_wav

EXAMPLES = Path(__file__).parents[2] / "examples" / "audio"
FILES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".wav", ".flac", ".ogg"))
WITHOUT = """
import sys
for name in ("torch", "torchaudio", "transformers", "modeling_audio_branch"):
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def model():
    return make_model(AudioBranchModel, tiny_config(subsampling_factor=4))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "out"
    export_model(model, folder, int8=True, audio=FILES)
    return folder


@pytest.fixture(scope="module")
def exported_with_spans(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "spans"
    export_model(model, folder, spans=True)
    return folder


def test_encode_of_an_exported_model_is_that_of_the_model(model, exported):
    onnx = AudioBranchModel.from_onnx(exported)
    expected = model.encode(FILES)
    for batch_size in (1, 2, 8):
        got = onnx.encode(FILES, batch_size=batch_size)
        for name in ("segment_features", "segment_times", "pooler_output", "sequence_embedding", "segment_mask"):
            torch.testing.assert_close(got[name], expected[name], atol=1e-4, rtol=0, check_dtype=False)
    single = onnx.encode(random_clips([9000])[0], sampling_rate=8000)
    assert single.segment_features.shape == (4, 12)
    torch.testing.assert_close(
        single.pooler_output, model.encode(random_clips([9000])[0], sampling_rate=8000).pooler_output, atol=1e-4, rtol=0
    )


def test_spans_are_encoded_as_the_model_does(model, exported_with_spans):
    onnx, clips = AudioBranchModel.from_onnx(exported_with_spans), random_clips([16000, 9000, 30000])
    for choice in (
        {"spans": [[(0, 0.5), (0.2, 1.0)], [], [(0.1, 1.87)]]},
        {"window_seconds": 0.5, "hop_seconds": 0.3},
        {"segment_seconds": 0.7},
        {"spans": [[], [], []]},
        {},
    ):
        got = onnx.encode(clips, sampling_rate=16000, batch_size=2, **choice)
        expected = model.encode(clips, sampling_rate=16000, **choice)
        for name in ("segment_features", "segment_times", "pooler_output", "sequence_embedding", "segment_mask"):
            torch.testing.assert_close(got[name], expected[name], atol=1e-4, rtol=0, check_dtype=False)
    single = onnx.encode(clips[0], sampling_rate=16000, spans=[(0.2, 0.4)])
    assert single.segment_features.shape == (1, 4, 12)
    for choice in ({}, {"window_seconds": 1.0}):
        short = onnx.encode(torch.zeros(10), sampling_rate=16000, **choice)
        expected = model.encode(torch.zeros(10), sampling_rate=16000, **choice)
        assert torch.equal(short.segment_mask, expected.segment_mask)
        assert short.segment_features.shape == expected.segment_features.shape


def test_spans_that_can_not_be_are_refused(exported, exported_with_spans):
    onnx, clips = OnnxModel(exported_with_spans), random_clips([16000, 9000])
    with pytest.raises(ValueError, match=r"Span 1 is from 0.5 to 2 s.*\(of clip 1\)"):
        onnx.encode(clips, sampling_rate=16000, spans=[[(0, 1)], [(0, 0.5), (0.5, 2)]])
    embedder, clips = Embedder(exported_with_spans), [clip.numpy() for clip in clips]
    with pytest.raises(ValueError, match="Span 1 of clip 1 is from 0.5 to 2 s"):
        embedder(clips, [[(0, 1)], [(0, 0.5), (0.5, 2)]])
    with pytest.raises(ValueError, match="Spans of 1 clips were given"):
        embedder(clips, [[(0, 1)]])
    for bad in ([[(0, 1)], 3], [[(0, 1, 2)], [(0, 0.1)]], [[("a", 1)], [(0, 0.1)]]):
        with pytest.raises(ValueError, match="give pairs of start and end in seconds"):
            embedder(clips, bad)
    with pytest.raises(ValueError, match="export it with --spans"):
        OnnxModel(exported).encode(clips, sampling_rate=16000, window_seconds=1.0)
    with pytest.raises(ValueError, match="export it with --spans"):
        Embedder(exported)(clips, [[(0, 1)], [(0, 0.5)]])


def test_spans_without_torch(model, exported_with_spans):
    clips, spans = random_clips([16000, 9000]), [[(0, 0.5), (0.2, 1.0)], [(0.1, 0.3)]]
    for given in (spans, None):
        got = Embedder(exported_with_spans)([clip.numpy() for clip in clips], given)
        expected = model.encode(clips, sampling_rate=16000, spans=given)
        for name, value in got.items():
            value = value if given else value[:, 0]
            np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_the_int8_variant_is_near(model, exported):
    small = OnnxModel(exported, "model_int8.onnx").encode(FILES).segment_features
    expected = model.encode(FILES).segment_features
    assert torch.nn.functional.cosine_similarity(small, expected, dim=-1).mean() > 0.99
    assert not torch.equal(small, expected)


def test_openvino_encodes_too(model, tmp_path):
    report = export_model(model, tmp_path / "out", "openvino", int8=True, audio=FILES)
    got, expected = AudioBranchModel.from_onnx(tmp_path / "out", "model.xml").encode(FILES), model.encode(FILES)
    torch.testing.assert_close(got.segment_features, expected.segment_features, atol=1e-4, rtol=0)
    small = AudioBranchModel.from_onnx(tmp_path / "out", report.int8_path.name).encode(FILES).segment_features
    cosines = torch.nn.functional.cosine_similarity(small, expected.segment_features, dim=-1)
    assert cosines.mean().item() == pytest.approx(report.int8_cosine[0], abs=1e-3) and report.int8_cosine[0] > 0.995


def test_a_process_without_torch_gives_the_same(model, exported, tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, random_clips([12345])[0].numpy(), 16000, subtype="PCM_16")
    script = WITHOUT + (exported / "onnx_inference.py").read_text().replace(
        "Embedder()", f"Embedder({str(exported)!r})"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["file"] == str(path)
    np.testing.assert_allclose(row["pooler_output"], model.encode(path).pooler_output, atol=1e-4)


def test_clips_of_different_lengths_are_padded_and_bad_ones_refused(model, exported, tmp_path):
    embedder, clips = Embedder(exported), [clip.numpy() for clip in random_clips([5000, 12000])]
    together = embedder(clips)["segment_features"]
    for row, clip in zip(together, clips, strict=True):
        np.testing.assert_allclose(embedder([clip])["segment_features"][0], row, atol=1e-4)
    for bad in ([np.full(5000, np.nan)], [clips[0], np.ones((10, 20))], clips[0], [np.ones(5000, np.int16)]):
        with pytest.raises(ValueError, match="finite floating-point numbers"):
            embedder(bad)
    with pytest.raises(ValueError, match="No clips"):
        embedder([])
    soundfile.write(tmp_path / "a.wav", clips[0], 8000, subtype="PCM_16")
    with pytest.raises(ValueError, match="16 bits at 16000 Hz"):
        read_wav(tmp_path / "a.wav", 16000)


def run_readme(folder):
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) <= 7
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_runs_as_it_is_printed(exported, exported_with_spans):
    assert "'segment_features': (1, 4, 12)" in run_readme(exported)
    assert "'segment_features': (1, 1, 4, 12)" in run_readme(exported_with_spans)


@pytest.mark.parametrize("format", ["torch", "torchscript", "openvino"])
def test_the_readmes_of_other_formats_run(model, tmp_path, format):
    export_model(model, tmp_path / "out", format)
    assert "'segment_features': (" in run_readme(tmp_path / "out")
    export_model(model, tmp_path / "spans", format, spans=True)
    assert "1, 4, 12)" in run_readme(tmp_path / "spans")


def test_a_folder_without_a_model_of_raw_audio_is_refused(model, exported, tmp_path):
    with pytest.raises(ExportError, match="run audio-branch export first"):
        OnnxModel(tmp_path)
    with pytest.raises(ExportError, match="holds no model.xml"):
        OnnxModel(exported, "model.xml")
    with pytest.raises(ValueError, match="batch_size=0 was given"):
        OnnxModel(exported).encode(FILES, batch_size=0)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "preprocess.json").write_text("{}")
    with pytest.raises(ExportError, match="can't be opened"):
        OnnxModel(tmp_path)
    (tmp_path / "preprocess.json").write_bytes((exported / "preprocess.json").read_bytes())
    with pytest.raises(ExportError, match="can't be opened"):
        OnnxModel(tmp_path)
    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes())
    about = json.loads((exported / "preprocess.json").read_text())
    (tmp_path / "preprocess.json").write_text(json.dumps(about | {"source": "features"}))
    with pytest.raises(ExportError, match="takes features"):
        OnnxModel(tmp_path)

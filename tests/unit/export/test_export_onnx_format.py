"""ONNX files: one file with free batch and time, named, with metadata; the mel product stays float in int8."""

from pathlib import Path

import onnx
import pytest

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export import onnx_format
from modeling_audio_branch.export.errors import ExportError
from modeling_audio_branch.export.exportable import Exportable
from modeling_audio_branch.export.onnx_format import float_products, write_int8, write_onnx
from modeling_audio_branch.export.torch_formats import write_torch


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    exportable = Exportable(make_model(AudioBranchModel, tiny_config()))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(exportable, path, {"sampling_rate": "16000"})
    return exportable, path


def test_one_file_with_names_free_axes_and_metadata(written):
    _, path = written
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]
    axes = {each.name: [axis.dim_param for axis in each.type.tensor_type.shape.dim] for each in model.graph.input}
    assert axes == {"input_values": ["batch", "samples"], "attention_mask": ["batch", "samples"]}
    names = [each.name for each in model.graph.output]
    assert names == ["segment_features", "segment_times", "segment_mask", "pooler_output"]
    assert {each.key: each.value for each in model.metadata_props}["sampling_rate"] == "16000"


def test_spans_are_a_third_input(tmp_path):
    exportable = Exportable(make_model(AudioBranchModel, tiny_config(num_layers=1)), "features", spans=True)
    write_onnx(exportable, tmp_path / "model.onnx", {})
    graph = onnx.load(tmp_path / "model.onnx").graph
    axes = {each.name: [axis.dim_param for axis in each.type.tensor_type.shape.dim] for each in graph.input}
    assert axes["spans"] == ["batch", "spans", ""] and axes["attention_mask"] == ["batch", "frames"]


def test_it_holds_no_path_of_this_machine(written, tmp_path):
    exportable, path = written
    write_torch(exportable, tmp_path / "model.pt2")
    for file in (path, tmp_path / "model.pt2"):
        assert str(Path(onnx_format.__file__).parents[1]).encode() not in file.read_bytes(), file


def test_the_mel_product_stays_float_in_int8(written, tmp_path):
    exportable, path = written
    kept = float_products(onnx.load(path), exportable)
    assert len(kept) == 1
    write_int8(path, tmp_path / "int8.onnx", exportable)
    nodes = onnx.load(tmp_path / "int8.onnx").graph.node
    assert [node.name for node in nodes if node.op_type == "MatMul" and node.name in kept] == kept
    assert sum(node.op_type == "MatMulInteger" for node in nodes) > 10
    assert (tmp_path / "int8.onnx").stat().st_size < path.stat().st_size
    assert float_products(onnx.load(path), Exportable(exportable.model, "features")) == []


def test_a_model_too_large_for_one_file_is_refused(written, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_format, "MAX_BYTES", 1000)
    with pytest.raises(ExportError, match="2 GB at most"):
        write_onnx(written[0], tmp_path / "model.onnx", {})

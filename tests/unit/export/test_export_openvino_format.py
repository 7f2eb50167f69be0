"""OpenVINO's int8: linear layers in int8, the spectrogram and convolutions in float; near the float model."""

import numpy as np
import openvino
import pytest

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export.exportable import Exportable
from modeling_audio_branch.export.onnx_format import write_onnx
from modeling_audio_branch.export.openvino_format import (
    float_products,
    run_openvino,
    write_openvino,
    write_openvino_int8,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    exportable, folder = Exportable(make_model(AudioBranchModel, tiny_config())), tmp_path_factory.mktemp("openvino")
    write_onnx(exportable, folder / "model.onnx", {})
    write_openvino(folder / "model.onnx", folder / "model.xml")
    write_openvino_int8(folder / "model.xml", folder / "model_int8.xml", exportable)
    return exportable, folder


def constants_of(path, kind):
    """Of each node of this kind with a constant behind it: its name and the type of the constant."""
    found = {}
    for node in openvino.Core().read_model(path).get_ops():
        if node.get_type_name() == kind:
            source = node.input_value(1).get_node()
            while source.get_type_name() in ("Convert", "Multiply", "Reshape", "Subtract", "Transpose"):
                source = source.input_value(0).get_node()
            if source.get_type_name() == "Constant":
                found[node.get_friendly_name()] = source.get_element_type().get_type_name()
    return found


def test_the_mel_product_and_convolutions_stay_float(written):
    exportable, folder = written
    kept = float_products(openvino.Core().read_model(folder / "model.xml"), exportable)
    assert len(kept) == 1
    products = constants_of(folder / "model_int8.xml", "MatMul")
    assert [name for name, kind in products.items() if kind == "f32"] == kept
    assert sum(kind == "i8" for kind in products.values()) > 10
    for kind in ("Convolution", "GroupConvolution"):
        assert set(constants_of(folder / "model_int8.xml", kind).values()) == {"f32"}
    assert (
        float_products(openvino.Core().read_model(folder / "model.xml"), Exportable(exportable.model, "features")) == []
    )


def test_int8_is_near_the_float_model_and_smaller(written):
    exportable, folder = written
    inputs = [each.numpy() for each in exportable.inputs([1.0, 0.6])]
    exact, small = (run_openvino(folder / name)(*inputs)[0] for name in ("model.xml", "model_int8.xml"))
    cosines = (exact * small).sum(-1) / np.linalg.norm(exact, axis=-1) / np.linalg.norm(small, axis=-1)
    assert cosines.min() > 0.99 and not np.array_equal(exact, small)
    assert (folder / "model_int8.bin").stat().st_size < (folder / "model.bin").stat().st_size

"""OpenVINO's format, which is made of an ONNX file, and its int8 variant by NNCF."""

from pathlib import Path

import numpy as np

from .errors import needed
from .exportable import RAW, Exportable
from .onnx_format import quiet
from .parity import Run


def write_openvino(onnx_path: Path, path: Path) -> None:
    """An .xml file and a .bin file of an ONNX file."""
    openvino = needed("openvino")
    openvino.save_model(openvino.convert_model(onnx_path), path, compress_to_fp16=False)


def run_openvino(path: Path) -> Run:
    """Calls a model of OpenVINO on the CPU in float32; by itself it would take bfloat16 where the CPU has it."""
    compiled = needed("openvino").Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *inputs: [np.asarray(value) for value in compiled(list(inputs)).values()]


def write_openvino_int8(path: Path, target: Path, exportable: Exportable) -> None:
    """The weights of linear layers in int8, each output channel with its own scale; all else stays float32.

    So does the product with the mel filters: their range is that of a spectrum, which int8 would destroy. Inputs that
    are quantised with ranges from recordings (`nncf.quantize`) would be faster, but change the features more.
    """
    nncf, openvino = needed("nncf"), needed("openvino")
    model = openvino.Core().read_model(path)
    scope = nncf.IgnoredScope(
        names=float_products(model, exportable), types=["Convolution", "GroupConvolution"], validate=False
    )
    with quiet():
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=scope)
    openvino.save_model(model, target, compress_to_fp16=False)


def float_products(model, exportable: Exportable) -> list[str]:
    """The names of the products with the mel filters."""
    if exportable.source != RAW:
        return []
    shape = sorted(exportable.model.base_model.front_end.log_mel.mel_filters.shape)  # OpenVINO transposes some
    names = []
    for node in model.get_ops():
        shapes = [each.get_partial_shape() for each in node.inputs()] if node.get_type_name() == "MatMul" else []
        if any(each.is_static and sorted(each.to_shape()) == shape for each in shapes):
            names.append(node.get_friendly_name())
    return names

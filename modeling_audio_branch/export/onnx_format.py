"""ONNX by torch's exporter, run by onnxruntime; and its int8 variant."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .errors import ExportError, needed
from .exportable import RAW, Exportable
from .parity import Run

OPSET = 20
MAX_BYTES = 2**31 - 2**20  # of one protobuf file


def write_onnx(exportable: Exportable, path: Path, metadata: dict[str, str]) -> None:
    """Writes one file; batch and time are free.

    Raises:
        ExportError: The model is too large for one file, or has an operation that ONNX has not.
    """
    size = 4 * sum(parameter.numel() for parameter in exportable.parameters())
    if size > MAX_BYTES:
        raise ExportError(f"The weights take {size / 2**30:.1f} GB, and an ONNX file holds 2 GB at most.")
    needed("onnxscript")
    with quiet():
        program = torch.onnx.export(
            exportable,
            exportable.example(),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            dynamic_shapes=exportable.dynamic_shapes,
            input_names=list(exportable.input_names),
            output_names=list(exportable.output_names),
        )
    for node in program.model.graph.all_nodes():  # where it came from, with paths of this machine
        node.metadata_props.clear()
    program.model.metadata_props.update(metadata)
    for value, free in zip(program.model.graph.inputs, exportable.dynamic_shapes, strict=True):
        length = "samples" if exportable.source == RAW else "frames"
        axes = ("batch", "spans" if value.name == "spans" else length)
        value.shape = type(value.shape)([axes[i] if i in free else size for i, size in enumerate(value.shape)])
    program.save(path, external_data=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's reports; an error of it stays."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"ONNX can't carry this model ({str(error).splitlines()[-1]:.200}).") from error
    finally:
        logging.disable(level)


def run_onnx(path: Path) -> Run:
    """Calls an ONNX file by onnxruntime, on the CPU."""
    session = needed("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def write_int8(path: Path, target: Path, exportable: Exportable) -> None:
    """The linear layers in int8, weights per channel and inputs measured as they come; all else stays float32.

    The product with the mel filters stays float32: its range is that of a power spectrum, which int8 would destroy.
    """
    quantization = needed("onnxruntime.quantization")
    kept = float_products(needed("onnx").load(path), exportable)
    with quiet():
        quantization.quantize_dynamic(
            path,
            target,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=kept,
        )


def float_products(model, exportable: Exportable) -> list[str]:
    """The names of the products with the mel filters."""
    if exportable.source != RAW:
        return []
    shape = list(exportable.model.base_model.front_end.log_mel.mel_filters.shape)
    filters = {each.name for each in model.graph.initializer if list(each.dims) == shape}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and filters & set(node.input)]

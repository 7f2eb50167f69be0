"""Models outside Python: ONNX, OpenVINO, torch.export, AOTInductor, TorchScript (does not ship with a checkpoint)."""

from .errors import ExportError
from .folder import Format, Report, export_model
from .onnx_model import OnnxModel

__all__ = ["ExportError", "Format", "OnnxModel", "Report", "export_model"]

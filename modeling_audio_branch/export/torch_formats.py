"""What torch itself loads without our code: torch.export, AOTInductor (compiled) and TorchScript (deprecated)."""

from pathlib import Path

import numpy as np
import torch

from .exportable import Exportable
from .onnx_format import quiet
from .parity import Run


def exported_program(exportable: Exportable) -> torch.export.ExportedProgram:
    """The recorded operations; batch and time are free."""
    with quiet():
        program = torch.export.export(
            exportable,
            exportable.example(),
            dynamic_shapes=exportable.dynamic_shapes,
            strict=bool(exportable.model.config.encoder_config),  # else Transformers' encoders would fix the batch
        )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # with paths of this machine
    return program


def write_torch(exportable: Exportable, path: Path) -> None:
    """A .pt2 file for `torch.export.load`."""
    torch.export.save(exported_program(exportable), path)


def run_torch(path: Path) -> Run:
    """Calls a program of `torch.export.save`."""
    return _on_arrays(torch.export.load(path).module())


def write_aoti(exportable: Exportable, path: Path) -> None:
    """A .pt2 package with code compiled for CPUs like this one. It needs a C++ compiler."""
    with quiet():
        torch._inductor.aoti_compile_and_package(exported_program(exportable), package_path=str(path))


def run_aoti(path: Path) -> Run:
    """Calls a package of AOTInductor."""
    return _on_arrays(torch._inductor.aoti_load_package(str(path)))


def write_torchscript(exportable: Exportable, path: Path) -> None:
    """A traced model for `torch.jit.load`, also in C++. Torch has deprecated TorchScript."""
    with quiet():
        torch.jit.trace(exportable, exportable.example(), check_trace=False).save(str(path))


def run_torchscript(path: Path) -> Run:
    """Calls a traced model."""
    return _on_arrays(torch.jit.load(str(path)))


def _on_arrays(model) -> Run:
    @torch.no_grad()
    def run(*inputs: np.ndarray) -> list[np.ndarray]:
        return [value.numpy() for value in model(*map(torch.from_numpy, inputs))]

    return run

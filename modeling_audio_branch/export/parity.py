"""Whether an exported model gives what the model gives: the one check of all formats."""

from collections.abc import Callable

import numpy as np
import torch

from ..hub.errors import first_line
from .errors import ExportError
from .exportable import Exportable

TOLERANCE = 1e-4  # of the largest number of an output, float32
DURATIONS = ([1.0], [2.0, 0.7, 1.3], [5.0, 3.3], [0.4, 0.25], [3.01, 2.9, 1.11, 0.31, 2.0])  # s; none is traced
Run = Callable[..., list[np.ndarray]]  # inputs, mask and spans (if it has any) to the outputs, in their order


def largest_difference(exportable: Exportable, model, run: Run, durations=DURATIONS) -> float:
    """The largest difference of any output, as a part of its largest number (at least 1), over batches of noise.

    The padding is noise, too, which must not matter.

    Args:
        exportable: What was exported.
        model: The model itself, the reference, which is not traced and not changed.
        run: Calls the exported model.
        durations: Of the clips of each batch, in seconds.
    """
    worst = 0.0
    for seed, seconds in enumerate(durations):
        inputs = exportable.inputs(seconds, padding=3.0, seed=seed)
        expected = reference(exportable, model, *inputs)
        try:
            values = run(*(each.numpy() for each in inputs))
        except Exception as error:  # of any runtime
            raise ExportError(
                f"The exported model fails on {len(seconds)} clips of up to {max(seconds)} s, which it was not traced "
                f"with ({first_line(error):.200}); take another format."
            ) from error
        for name, value, got in zip(exportable.output_names, expected, values, strict=True):
            if np.shape(got) != value.shape:
                raise ExportError(f"The exported {name} has the shape {np.shape(got)} and not {value.shape}.")
            scale = max(1.0, float(np.abs(value).max()))
            difference = np.abs(np.asarray(got, np.float64) - value).max() / scale
            worst = max(worst, float(difference)) if np.isfinite(difference) else float("inf")
    return worst


@torch.no_grad()
def reference(exportable: Exportable, model, *inputs: torch.Tensor) -> list[np.ndarray]:
    """What the model itself says, in the order of the exported outputs."""
    return [value.float().numpy() for value in exportable.outputs_of(model, *inputs)]

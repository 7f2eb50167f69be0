"""A model in every runtime: the time of a call compared with eager, start-up, size, and how near the numbers are.

    python -m benchmarks.runtimes                         # checkpoints/phrases; about 10 minutes on two cores
    python -m benchmarks.runtimes --large --repeats 10    # a random model of the size of large(); 20 minutes

Raw audio goes in, and the four outputs come out. In each round every runtime is called once, one after the other, so
that the noise of the machine meets all alike. A ratio is the median over rounds of eager's time divided by the
runtime's: 2 is twice as fast. Eager and prepared take the packed path (no padding is computed); all exported models
compute the padding. Start-up: seconds from loading the file to the first output of one clip of 1 s.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from modeling_audio_branch.export import ExportError, export_model
from modeling_audio_branch.export.exportable import OUTPUTS, Exportable
from modeling_audio_branch.export.folder import RUN, WRITE_INT8, Format
from modeling_audio_branch.export.parity import Run, reference
from modeling_audio_branch.hub.writing import replaced_file

INPUTS = {
    "1 x 1 s": [1.0],
    "1 x 3 s": [3.0],
    "8 x 3 s": [3.0] * 8,
    "16 mixed": [1.0, 1.3, 1.7, 2.0, 2.4, 2.9, 3.5, 4.0, 4.6, 5.5, 6.5, 7.7, 9.0, 10.5, 12.5, 15.0],
}
EAGER = "eager"


def in_python(model) -> Run:
    """Calls the model itself."""

    @torch.no_grad()
    def run(inputs: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        output = model(input_values=torch.from_numpy(inputs), attention_mask=torch.from_numpy(mask))
        return [output[name].numpy() for name in OUTPUTS]

    return run


def python_runtimes(model: AudioBranchModel) -> dict[str, Callable[[], Run]]:
    """The ways within Python and our code: name to a function that gets ready and returns what is called."""
    load = {"weights": model.state_dict(), "config": model.config}

    def copied():
        made = AudioBranchModel(load["config"])
        made.load_state_dict(load["weights"])
        return made.eval()

    return {
        EAGER: lambda: in_python(copied()),
        "prepared": lambda: in_python(copied().prepare_for_inference(measure=False)),
        "torch.compile": lambda: in_python(torch.compile(copied(), dynamic=True)),
    }


def exported_runtimes(model: AudioBranchModel, folder: Path) -> tuple[dict[str, Callable[[], Run]], dict[str, int]]:
    """The exported models: name to a function that loads it; and the bytes of the files of each."""
    found, sizes = {}, {}
    for format in Format:
        if format in WRITE_INT8:
            try:
                report = export_model(model, folder / format, format, int8=True)
            except ExportError as error:  # int8 changes some models too much
                print(error)
                report = export_model(model, folder / format, format)
        else:
            report = export_model(model, folder / format, format)
        paths = {str(format): report.path} | ({f"{format}, int8": report.int8_path} if report.int8_path else {})
        for name, path in paths.items():
            found[name] = lambda path=path, format=format: RUN[format](path)
            sizes[name] = sum(each.stat().st_size for each in path.parent.glob(f"{path.stem}.*"))
        print(f"{format}: exported in {report.seconds:.0f} s")
    return found, sizes


def start(get_ready: Callable[[], Run], inputs: tuple) -> tuple[Run, float]:
    """What is called, and the seconds until its first output."""
    begin = time.perf_counter()
    run = get_ready()
    run(*inputs)
    return run, time.perf_counter() - begin


def measure(runs: dict[str, Run], inputs: tuple, repeats: int) -> dict[str, list[float]]:
    """The seconds of each call, in rounds."""
    times = {name: [] for name in runs}
    for run in runs.values():
        run(*inputs)
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(*inputs)
            times[name].append(time.perf_counter() - begin)
    return times


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
    large: Annotated[bool, typer.Option("--large", help="A random model of the size of large() in its place.")] = False,
    repeats: Annotated[int, typer.Option(help="Rounds.")] = 30,
    output: Annotated[Path, typer.Option(help="File of the results.")] = Path("outputs/runtimes.json"),
) -> None:
    """Compares runtimes."""
    torch.manual_seed(0)
    model = AudioBranchModel(AudioBranchConfig.large()) if large else AudioBranchModel.from_pretrained(checkpoint)
    exportable = Exportable(model.eval())
    batches = {name: tuple(each.numpy() for each in exportable.inputs(seconds)) for name, seconds in INPUTS.items()}
    with tempfile.TemporaryDirectory() as folder:
        exported, sizes = exported_runtimes(model, Path(folder))
        runs, startup = {}, {}
        for name, get_ready in track((python_runtimes(model) | exported).items(), "Starting"):
            runs[name], startup[name] = start(get_ready, batches["1 x 1 s"])
        times = {name: measure(runs, inputs, repeats) for name, inputs in track(batches.items(), "Measuring")}
        expected = reference(exportable, model, *map(torch.from_numpy, batches["8 x 3 s"]))[0]
        got = {name: run(*batches["8 x 3 s"])[0] for name, run in runs.items()}
    differences = {name: float(np.abs(value - expected).max()) for name, value in got.items()}
    table = Table(title=f"Times as fast as eager, {torch.get_num_threads()} threads", box=None)
    for column in ("runtime", *INPUTS, "start-up, s", "MB", "difference"):
        table.add_column(column, justify="left" if column == "runtime" else "right")
    for name in runs:
        ratios = [
            statistics.median(eager / own for eager, own in zip(each[EAGER], each[name], strict=True))
            for each in times.values()
        ]
        size = f"{sizes[name] / 2**20:.1f}" if name in sizes else ""
        table.add_row(
            name, *(f"{each:.2f}" for each in ratios), f"{startup[name]:.1f}", size, f"{differences[name]:.0e}"
        )
    console = Console(width=120)
    console.print(table)
    eager = {name: statistics.median(each[EAGER]) for name, each in times.items()}
    console.print("Eager, ms: " + ", ".join(f"{name} {1000 * value:.1f}" for name, value in eager.items()))
    with replaced_file(output) as path:
        results = {"times": times, "startup": startup, "bytes": sizes, "differences": differences}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

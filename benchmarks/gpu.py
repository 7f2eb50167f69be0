"""Everything that a GPU shows, in one command: speed, memory, exactness and a training step, ours and the peers'.

    python -m benchmarks.gpu                      # on a GPU: some minutes; writes outputs/gpu.json and prints tables
                                                  # compares with NeMo too, where it is installed
    python -m benchmarks.gpu --device cpu --layers 1 --no-compiled --repeats 1   # what the tests run, on fewer inputs

- speed: runs alternate with the peer's of the same weights and precision; read the ratio and its quartiles. `captured`
  is a CUDA graph of one plan, `compiled` is torch.compile(mode="reduce-overhead"); both for clips of one length.
- memory: the most that tensors took during a run, weights included.
- difference: the largest from the same model in float32 on a CPU, relative to the largest number of its output; of
  weights that are cast, and with autocast.
- exactness: the largest difference between each clip alone and in the batch, in the same precision, relative too.
- `lightweight`: 8 clips of 300 frames, which the original design promised in 50 ms and 2 GB on an RTX 3050.
"""

import copy
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from torch import nn

from modeling_audio_branch import AudioBranchConfig, AudioBranchModel

from .encoder import INPUTS as ENCODER_INPUTS
from .inputs import batch_of_features, mixed_seconds
from .measuring import Speed, compare
from .peers import PEERS, pair
from .report import SPEED_COLUMNS, report
from .training import make_step

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTOCAST = " autocast"  # after the name of a dtype: float32 weights, of which torch casts what it multiplies
PRECISIONS = [*DTYPES, "bfloat16" + AUTOCAST, "float16" + AUTOCAST]
LIGHTWEIGHT = {"8 clips of 300 frames": [3.0] * 8}
INPUTS = ENCODER_INPUTS | {"64 clips of 1 to 15 s": mixed_seconds(64)}


@dataclass
class Row:
    model: str
    peer: str | None
    input: str
    precision: str
    variant: str
    speed: Speed | None  # None without a peer
    milliseconds: float
    peak_megabytes: float | None
    peer_peak_megabytes: float | None
    difference: float
    exactness: float | None


@dataclass
class TrainingRow:
    peer: str
    input: str
    speed: Speed
    peak_megabytes: float | None
    peer_peak_megabytes: float | None


def peak_megabytes(run, device: str) -> float | None:
    """The most memory that tensors take during a run; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e6


def captured(run):
    """`run` as a CUDA graph, whose kernels are all started at once. The inputs and the output keep their memory."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()

    def replay():
        graph.replay()
        return output

    return replay


def variants(encoder, frames, mask, lengths, compiled: bool) -> Iterator[tuple[str, functools.partial]]:
    """Functions without arguments that run the encoder on these frames, by name."""
    run = functools.partial(encoder, frames, mask, lengths=lengths)
    yield "eager", run
    if len(set(lengths)) > 1:
        return
    if compiled:
        torch._dynamo.reset()
        yield "compiled", functools.partial(torch.compile(encoder, mode="reduce-overhead"), frames, mask)
    if frames.device.type == "cuda":
        yield "captured", captured(run)


def in_precision(module: nn.Module, precision: str):
    """A copy of a module that runs in a precision, called as the module."""
    if precision.endswith(AUTOCAST):
        module, dtype = copy.deepcopy(module), DTYPES[precision.removesuffix(AUTOCAST)]
        kind = next(module.parameters()).device.type
        return torch.autocast(kind, dtype=dtype)(module), torch.float32
    return copy.deepcopy(module).to(DTYPES[precision]), DTYPES[precision]


def relative(difference: torch.Tensor, expected: torch.Tensor) -> float:
    return (difference.abs().max() / expected.abs().max()).item()


def exactness(encoder, frames, mask, states) -> float | None:
    """The largest difference between the clips alone and in the batch; None for one clip."""
    if len(frames) == 1:
        return None
    worst = 0.0
    for clip, length in enumerate(mask.sum(1).tolist()):
        alone = encoder(frames[clip : clip + 1, :length], mask[clip : clip + 1, :length])[0]
        worst = max(worst, relative(states[clip, : alone.shape[1]] - alone[0], states))
    return worst


@torch.no_grad()
def measure(name, peer_name, input_name, model, peer, seconds, precision, settings) -> Iterator[Row]:
    """The rows of one input in one precision."""
    device, repeats, compiled = settings
    frames, mask = batch_of_features(seconds, device, model.config.n_mels, getattr(peer, "frames_per_second", 100))
    lengths = mask.sum(1).tolist()
    expected = copy.deepcopy(model.encoder).cpu()(frames.cpu(), mask.cpu())[0].to(device)
    encoder, dtype = in_precision(model.encoder, precision)
    frames = frames.to(dtype)
    run_peer = None if peer is None else functools.partial(in_precision(peer, precision)[0], frames, mask)
    for variant, run in variants(encoder, frames, mask, lengths, compiled):
        states = run()[0].clone()
        speed = compare(run, run_peer or run, repeats)
        yield Row(
            model=name,
            peer=peer_name,
            input=input_name,
            precision=precision,
            variant=variant,
            speed=speed if peer is not None else None,
            milliseconds=1000 * speed.ours_s,
            peak_megabytes=peak_megabytes(run, device),
            peer_peak_megabytes=run_peer and peak_megabytes(run_peer, device),
            difference=relative(states.float() - expected, expected),
            exactness=exactness(encoder, frames, mask, states) if variant == "eager" else None,
        )


def measure_training(peer_name, name, model, peer, seconds, settings) -> TrainingRow:
    """A step of forward, backward and AdamW in float32."""
    device, repeats, _ = settings
    frames, mask = batch_of_features(seconds, device, peer.bins, peer.frames_per_second)
    ours, theirs = (make_step(encoder, frames, mask) for encoder in (model.encoder, peer))
    speed = compare(ours, theirs, repeats)
    return TrainingRow(peer_name, name, speed, peak_megabytes(ours, device), peak_megabytes(theirs, device))


def megabytes(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"


COLUMNS = {
    "model": lambda row: row.model,
    "peer": lambda row: row.peer or "-",
    "input": lambda row: row.input,
    "precision": lambda row: row.precision,
    "variant": lambda row: row.variant,
    "ours (ms)": lambda row: f"{row.milliseconds:.1f}",
    "times as fast": lambda row: "-" if row.speed is None else SPEED_COLUMNS["times as fast (quartiles)"](row),
    "MB": lambda row: f"{megabytes(row.peak_megabytes)}, {megabytes(row.peer_peak_megabytes)}",
    "difference": lambda row: f"{row.difference:.0e}",
    "exactness": lambda row: "-" if row.exactness is None else f"{row.exactness:.0e}",
}
TRAINING_COLUMNS = {
    "peer": lambda row: row.peer,
    "input": lambda row: row.input,
    **SPEED_COLUMNS,
    "MB": lambda row: f"{megabytes(row.peak_megabytes)}, {megabytes(row.peer_peak_megabytes)}",
}


NAMES = ", ".join(PEERS)


def main(
    peer: Annotated[
        list[str] | None, typer.Option(help=f"Some of {NAMES}; by default parakeet, and nemo if it is installed.")
    ] = None,
    device: str = "cuda",
    layers: int = 17,
    repeats: int = 21,
    compiled: bool = typer.Option(True, help="Also measure torch.compile, which takes a minute for each row."),
    only: str = typer.Option("", help="Measure only the inputs with this text in their name."),
    output: Path = Path("outputs/gpu.json"),
) -> None:
    """Measure speed, memory and exactness on a GPU, and a training step."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(f"--device {device} was given, but torch finds no GPU; give --device cpu to try the program.")
    peers = peer or ["parakeet"] + ["nemo"] * (importlib.util.find_spec("nemo") is not None)
    settings, rows, training = (device, repeats, compiled), [], []
    chosen = {name: seconds for name, seconds in INPUTS.items() if only in name}
    steps = [(other, precision, *item) for other in peers for precision in PRECISIONS for item in chosen.items()]
    for other, precision, name, seconds in track(steps, "Measuring", transient=True):
        models = pair(other, layers, device, attention_window=128 if "window" in name else None)
        rows += measure("large", other, name, *models, seconds, precision, settings)
    config = AudioBranchConfig.lightweight(num_layers=min(4, layers), dropout=0.0)
    lightweight = AudioBranchModel(config).eval().to(device)
    for precision in PRECISIONS:
        for name, seconds in LIGHTWEIGHT.items():
            rows += measure("lightweight", None, name, lightweight, None, seconds, precision, settings)
    for other in peers:
        for name, seconds in chosen.items():
            if "60 s" not in name:
                training.append(measure_training(other, name, *pair(other, layers, device), seconds, settings))
    report(f"Encoder on {device}", rows, COLUMNS, output, layers=layers)
    written = output.with_stem(f"{output.stem}_training")
    report(f"Training step on {device}", training, TRAINING_COLUMNS, written, layers=layers)


if __name__ == "__main__":
    typer.run(main)

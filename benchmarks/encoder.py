"""Speed of the encoder compared with another one that has the same weights, in the same run, on real speech.

    python -m benchmarks.encoder                    # 17 layers, ParakeetEncoder (sdpa): about ten minutes on two cores
    python -m benchmarks.encoder --peer torchaudio  # or nemo, where it is installed
    python -m benchmarks.encoder --device cuda      # also counts kernels with torch's profiler
    python -m benchmarks.encoder --layers 4 --repeats 5

Each input is run by the model as it is, after `prepare_for_inference()`, and in int8 (torch's dynamic quantization of
all linear layers); on a GPU as it is and compiled. Runs alternate: read the ratio (the median over pairs of
neighbouring runs) and its quartiles. The difference is the largest one between the outputs. For int8 it is the cosine
similarity of their frames: the mean (and the least). "Of GEMM rate" is the rate of useful operations (those on valid
frames), ours and the peer's, divided by the rate of a large matrix product on this machine: 1 is the upper limit.
"""

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.progress import track
from torch import nn

from modeling_audio_branch import AudioBranchModel

from .inputs import BATCHES, batch_of_features
from .measuring import Speed, compare, count_kernels, gemm_flops_per_second, useful_flops
from .peers import pair
from .report import SPEED_COLUMNS, report

SHORT = {"1 clip of 0.5 s": [0.5], "1 clip of 1 s": [1.0]}
INPUTS = SHORT | BATCHES | {"1 clip of 60 s": [60.0], "1 clip of 60 s, window 128": [60.0]}


@dataclass
class Kernels:
    """Number and total seconds of the kernels of one run."""

    ours: int
    ours_s: float
    peer: int
    peer_s: float


@dataclass
class Row:
    input: str
    variant: str
    speed: Speed
    difference: float
    cosine: float
    cosine_least: float
    ours_of_gemm_rate: float
    peer_of_gemm_rate: float
    kernels: Kernels | None = None


def variants(model: AudioBranchModel, on_cpu: bool) -> Iterator[tuple[str, nn.Module]]:
    """The encoder in each variant, one after the other, since the model itself is prepared for inference."""
    yield "as it is", model.encoder
    if on_cpu:
        yield "prepared", model.prepare_for_inference(measure=False).encoder
        yield "int8", model.quantize().encoder
    else:
        yield "compiled", torch.compile(model.encoder, mode="reduce-overhead")  # with CUDA graphs


@torch.no_grad()
def measure(name: str, peer_name: str, layers: int, repeats: int, device: str) -> Iterator[Row]:
    """One row per variant of the encoder on this input."""
    window = 128 if "window" in name else None
    model, peer = pair(peer_name, layers, device, attention_window=window)
    frames, mask = batch_of_features(INPUTS[name], device, peer.bins, peer.frames_per_second)
    flops = useful_flops(model, frames, mask)
    run_peer = functools.partial(peer, frames, mask)
    expected, valid = run_peer()
    for variant, encoder in variants(model, on_cpu=device == "cpu"):
        run = functools.partial(encoder, frames, mask)
        speed = compare(run, run_peer, repeats)
        seconds_at_gemm_rate = flops / gemm_flops_per_second(device)
        states, peer_states = run()[0][:, : valid.shape[1]][valid], expected[valid]
        cosine = torch.cosine_similarity(states, peer_states, dim=-1)
        yield Row(
            input=name,
            variant=variant,
            speed=speed,
            difference=(states - peer_states).abs().max().item(),
            cosine=cosine.mean().item(),
            cosine_least=cosine.min().item(),
            ours_of_gemm_rate=seconds_at_gemm_rate / speed.ours_s,
            peer_of_gemm_rate=seconds_at_gemm_rate / speed.peer_s,
            kernels=None if device == "cpu" else Kernels(*count_kernels(run), *count_kernels(run_peer)),
        )


def difference(row: Row) -> str:
    if "window" in row.input:
        return "peer: full attention"
    return f"{row.cosine:.4f} ({row.cosine_least:.4f})" if row.variant == "int8" else f"{row.difference:.0e}"


def main(
    peer: str = "parakeet",
    layers: int = 17,
    repeats: int = 7,
    device: str = "cpu",
    threads: int = torch.get_num_threads(),
    output: Path = Path("outputs/encoder.json"),
) -> None:
    """Measure the speed of the encoder compared with another one that has the same weights."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    rows = []
    for name in track(INPUTS, "Measuring", transient=True):
        rows += measure(name, peer, layers, repeats, device)
    columns = {
        "input": lambda row: row.input,
        "variant": lambda row: row.variant,
        **SPEED_COLUMNS,
        "difference, cosine": difference,
        "of GEMM rate": lambda row: f"{row.ours_of_gemm_rate:.2f}, {row.peer_of_gemm_rate:.2f}",
    }
    if device != "cpu":
        columns["kernels, ours"] = lambda row: f"{row.kernels.ours} ({1000 * row.kernels.ours_s:.1f} ms)"
        columns["kernels, peer"] = lambda row: f"{row.kernels.peer} ({1000 * row.kernels.peer_s:.1f} ms)"
    title = f"Encoder, {layers} layers, compared with {peer}, {threads} threads"
    report(title, rows, columns, output, layers=layers)


if __name__ == "__main__":
    typer.run(main)

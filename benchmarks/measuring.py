"""Measurements: alternating runs, kernels, floating-point operations, and the speed of the machine itself."""

import statistics
import time
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from modeling_audio_branch import AudioBranchModel


@dataclass
class Speed:
    """Median seconds of two implementations, and how many times as fast ours is: the median with its quartiles."""

    ours_s: float
    peer_s: float
    ratio: float
    ratio_low: float
    ratio_high: float


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run) -> float:
    """Seconds of one run."""
    synchronize()
    start = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - start


def compare(ours, peer, repeats: int) -> Speed:
    """Runs both in turn, after one warm-up each. The ratio is the median over pairs of neighbouring runs."""
    times = {ours: [], peer: []}
    for repeat in range(-1, repeats):  # -1 is the warm-up
        for run in (ours, peer) if repeat % 2 else (peer, ours):
            seconds = timed(run)
            if repeat >= 0:
                times[run].append(seconds)
    ratios = [b / a for a, b in zip(times[ours], times[peer], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Speed(statistics.median(times[ours]), statistics.median(times[peer]), middle, low, high)


def count_kernels(run) -> tuple[int, float]:
    """The number of kernels (on a CPU: operators) that a run starts, and the seconds that they take."""
    activities = [ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        run()
        synchronize()
    events = profiler.key_averages()
    times = [event.self_device_time_total or event.self_cpu_time_total for event in events]
    return sum(event.count for event in events), 1e-6 * sum(times)


def gemm_flops_per_second(device: str = "cpu", size: int = 2048) -> float:
    """The machine's floating-point operations per second in a large float32 matrix product."""
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / statistics.median(timed(lambda: a @ b) for _ in range(7))


def useful_flops(model: AudioBranchModel, frames: torch.Tensor, mask: torch.Tensor) -> int:
    """Floating-point operations of our encoder on the valid frames of (B, T, M): each clip alone, without padding.

    PyTorch counts the matrix products and convolutions that run. It does not know those of fused attention or of
    prepacked weights, so attention is eager and the model must not be prepared for inference yet.
    """
    implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for clip, length in zip(frames, mask.sum(1).tolist(), strict=True):
            model.encoder(clip[None, :length], mask.new_ones(1, length))
    model.set_attn_implementation(implementation)
    return counter.get_total_flops()

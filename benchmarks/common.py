"""What all benchmarks share: alternating runs, the machine's own speed, tables, results with hardware and versions."""

import argparse
import functools
import json
import platform
import statistics
import time
from pathlib import Path

import soundfile
import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor

AUDIO = Path(__file__).parents[1] / "examples" / "audio"
RATE = 16000  # Hz


def mixed_seconds(count: int = 16, seed: int = 0) -> list[float]:
    """Lengths as recordings have them: log-normal, 1 to 15 s."""
    seconds = torch.empty(count).log_normal_(1.3, 0.6, generator=torch.Generator().manual_seed(seed))
    return seconds.clamp(1, 15).tolist()


BATCHES = {"1 clip of 3 s": [3.0], "8 clips of 3 s": [3.0] * 8, "16 clips of 1 to 15 s": mixed_seconds()}


def parse_arguments(doc: str, **defaults) -> argparse.Namespace:
    """The options of a benchmark that `defaults` names, --threads and --output among them always; sets the threads."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"threads": torch.get_num_threads()} | defaults
    for name, default in defaults.items():
        kind = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument(f"--{name}", **kind)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run) -> float:
    synchronize()
    start = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - start


def compare(ours, peer, repeats: int) -> dict[str, float]:
    """Median seconds of both and of their ratio, with its quartiles, over alternating runs after a warm-up."""
    times = {ours: [], peer: []}
    for repeat in range(-1, repeats):  # -1 warms up
        for run in (ours, peer) if repeat % 2 else (peer, ours):
            seconds = timed(run)
            if repeat >= 0:
                times[run].append(seconds)
    ratios = [b / a for a, b in zip(times[ours], times[peer], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    medians = {"ours_s": statistics.median(times[ours]), "peer_s": statistics.median(times[peer])}
    return medians | {"ratio": middle, "ratio_low": low, "ratio_high": high}


def kernels(run) -> tuple[int, float]:
    """How many kernels (on a CPU: operators) a run starts, and the seconds that they take."""
    activities = [ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        run()
        synchronize()
    events = profiler.key_averages()
    times = [event.self_device_time_total or event.self_cpu_time_total for event in events]
    return sum(event.count for event in events), 1e-6 * sum(times)


def gemm_rate(device: str = "cpu", size: int = 2048) -> float:
    """The machine's own floating-point operations per second in a large float32 matrix product."""
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / statistics.median(timed(lambda: a @ b) for _ in range(7))


@functools.cache
def speech() -> torch.Tensor:
    """Log-mel frames (T, 80) of the recordings of 16 kHz in examples/audio, one behind the other."""
    paths = sorted(path for path in AUDIO.iterdir() if path.suffix in (".wav", ".flac"))
    paths = [path for path in paths if soundfile.info(path).samplerate == RATE]
    extractor = AudioBranchFeatureExtractor()
    return torch.cat([extractor(path, return_tensors="pt").input_features[0, :-1] for path in paths])


def features(seconds: list[float], device: str = "cpu", bins: int = 80, frames_per_second: float = 100):
    """Frames of speech (B, T, bins), zero where masked, and their mask (B, T); the last frame is never valid.

    Every clip begins at another frame of the recordings, which are repeated. More than 80 bins are random projections
    of them.
    """
    lengths = torch.tensor([int(each * frames_per_second) for each in seconds])
    mask = torch.arange(int(lengths.max()) + 1) < lengths[:, None]
    recorded = speech()
    if bins != recorded.shape[1]:
        projection = torch.randn(recorded.shape[1], bins, generator=torch.Generator().manual_seed(0))
        recorded = recorded @ projection / recorded.shape[1] ** 0.5
    places = 97 * torch.arange(len(seconds))[:, None] + torch.arange(mask.shape[1])
    frames = recorded[places % len(recorded)] * mask.unsqueeze(-1)
    return frames.to(device), mask.to(device)


def useful_flop(config: AudioBranchConfig, seconds: list[float], frames_per_second: float = 100) -> float:
    """Multiplications and additions that the encoder needs for these clips, without padding, counted by hand."""
    d, channels, total = config.d_model, config.subsampling_channels, 0.0
    for each in seconds:
        frames, bins = int(each * frames_per_second), config.n_mels
        subsampling = 0
        for stage in range(config.subsampling_factor.bit_length() - 1):
            frames, bins = -(-frames // 2), -(-bins // 2)
            subsampling += frames * bins * channels * (9 + (channels if stage else 0))
        subsampling += frames * d * bins * (channels if config.subsampling_factor > 1 else 1)
        left, right = config.attention_context
        seen = frames if left < 0 else min(frames, left + 1 + right)
        relative = config.position_embedding == "relative"
        linear = d * d * (4 * config.ff_expansion_factor + 3 + 1 + 2 + 1) + d * config.conv_kernel_size  # per frame
        attention = (3 if relative else 2) * seen * d  # per frame: with keys, values and positions
        layer = frames * (linear + attention)
        layer += min(2 * frames, 2 * seen) * d * d if relative else 0  # the positions' projection
        total += 2 * (subsampling + config.num_layers * layer)
    return total


def machine() -> dict[str, str | int]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def report(title: str, rows: list[dict], columns: dict, output: Path, **more) -> None:
    """A table on the terminal, of `columns` (heading: function of a row), and all numbers as JSON."""
    table = Table(title=title)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(column(row) for column in columns.values()))
    Console(width=max(130, Console().width)).print(table)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"title": title, **machine(), **more, "results": rows}, indent=2))
    print(f"Written to {output}")


def ratio(row: dict) -> str:
    return f"{row['ratio']:.2f} ({row['ratio_low']:.1f} to {row['ratio_high']:.1f})"


def milliseconds(name: str):
    return lambda row: f"{1000 * row[name]:.1f}"


SPEED = {"ours (ms)": milliseconds("ours_s"), "peer (ms)": milliseconds("peer_s"), "times as fast (quartiles)": ratio}

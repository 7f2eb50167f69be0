"""Measures parameters and speed of each fusion, and the memory that a video of 10 s takes.

python -m recipes.audio_visual.measure            # both tables
python -m recipes.audio_visual.measure --memory   # the memory alone, as a process of its own
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from transformers import ViTConfig

from modeling_audio_branch import AudioBranchConfig
from recipes.audio_visual.model import AudioVisualConfig, AudioVisualForClassification, AudioVisualProcessor
from recipes.audio_visual.model.fusion import FUSIONS
from recipes.audio_visual.write_video import write_video

SECONDS, FRAME_RATE, RATE = 10, 25, 16000
HEIGHT, WIDTH = 720, 1280  # of the video file, as RAVDESS has them
BATCH, REPEATS = 32, 200


def fusion_rows() -> list[tuple[str, int, float, float]]:
    """Name, parameters, and median milliseconds of a batch of each fusion in inference and in a training step."""
    rows = []
    generator = torch.Generator().manual_seed(0)
    starts = torch.arange(8) * 0.25
    times = torch.stack([starts, starts + 0.25], -1).expand(BATCH, -1, -1)  # (B, 8, 2)
    present = torch.ones(BATCH, 2, dtype=torch.bool)
    for name in FUSIONS:
        config = AudioVisualConfig(fusion=name)
        torch.manual_seed(0)
        with torch.device("cpu"):
            fusion = FUSIONS[name](config)
        for module in fusion.modules():
            if hasattr(module, "init_parameters"):
                module.init_parameters()
        sides = [torch.randn(BATCH, 8, config.fusion_dim, generator=generator) for _ in range(2)]

        def infer(fusion=fusion, sides=sides):
            with torch.no_grad():
                fusion(*sides, present, times)

        def step(fusion=fusion, sides=sides):
            fusion.zero_grad()
            fusion(*sides, present, times)[0].square().mean().backward()

        count = sum(parameter.numel() for parameter in fusion.parameters())
        rows.append((name, count, milliseconds(infer), milliseconds(step)))
    return rows


def milliseconds(call) -> float:
    """The median time of a call."""
    times = []
    for _ in range(REPEATS + 10):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[10:])


def peak_memory() -> tuple[float, float]:
    """Gigabytes at most resident before and after a video of 10 s is read and classified by full-size models.

    They are ViT-base (224 x 224, 4 frames of each segment) and `AudioBranchConfig.lightweight()`, with random weights.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        command = [
            sys.executable,
            "-c",
            f"from recipes.audio_visual.measure import write_example; write_example({str(path)!r})",
        ]
        subprocess.run(command, check=True)  # in a process of its own, whose memory is not counted
        torch.manual_seed(0)
        config = AudioVisualConfig(audio_config=AudioBranchConfig.lightweight(), video_config=ViTConfig())
        model = AudioVisualForClassification(config).eval()
        processor = AudioVisualProcessor.from_model_config(config)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with torch.no_grad():
            model(**processor(str(path)))
    return before / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write_example(path: str) -> None:
    """A video of 10 s with noise in picture and sound."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (SECONDS * FRAME_RATE, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    frames = frames.repeat(8, 1).repeat(8, 2)
    write_video(Path(path), frames, FRAME_RATE, 0.1 * generator.standard_normal(SECONDS * RATE), RATE)


def main(memory: Annotated[bool, typer.Option("--memory", help="Measure the memory only.")] = False):
    """Print parameters and speed of each fusion, and the memory for a video of 10 s."""
    if memory:
        before, after = peak_memory()
        print(f"{SECONDS} s of {WIDTH} x {HEIGHT} at {FRAME_RATE} Hz: {after:.2f} GB at most, {before:.2f} GB before")
        return
    print("| fusion | parameters | inference, ms | training step, ms |\n| --- | --- | --- | --- |")
    for name, count, inference, training in fusion_rows():
        print(f"| `{name}` | {count:,} | {inference:.2f} | {training:.2f} |")
    print(
        f"{BATCH} clips of 8 segments, width {AudioVisualConfig().fusion_dim}, {torch.get_num_threads()} threads",
        flush=True,
    )
    subprocess.run([sys.executable, "-m", "recipes.audio_visual.measure", "--memory"], check=True)


if __name__ == "__main__":
    typer.run(main)

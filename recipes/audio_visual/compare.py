"""Compares the fusions on the generated set: 5 trainings of each, of each side alone, and with a side missing.

    python -m recipes.audio_visual.compare        # under 10 minutes on two cores; continues where it was stopped

Writes results.json and report.md. The speech is that of two Debian packages, 200 MB, which are downloaded into data/.
"""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from scipy.stats import t as student_t

from modeling_audio_branch.disk import DiskError, writing
from modeling_audio_branch.hub.writing import replaced_file
from recipes.audio_visual.generated import LABELS
from recipes.audio_visual.generated_training import STEPS, Job, generated_rows, run_job
from recipes.audio_visual.model.fusion import FUSIONS

DROPOUT = 0.3  # modality dropout of the trainings that are tested with a side missing
ALONE = "liquid"  # the fusion that sees one side only: it knows the order of the segments, and could use a trace of it


def jobs_of(seeds: int) -> list[Job]:
    """All trainings of the comparison."""
    jobs = []
    for seed in range(seeds):
        jobs += [Job(fusion, seed) for fusion in FUSIONS]
        jobs += [Job(ALONE, seed, side=side) for side in ("audio", "video")]
        jobs += [Job(fusion, seed, "either", modality_dropout=rate) for fusion in FUSIONS for rate in (0.0, DROPOUT)]
    return jobs


def interval_of_mean(values: list[float]) -> tuple[float, float, float]:
    """The mean of some trainings, and its 95 % interval by Student's t, within 0 to 1."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def accuracies(predictions: dict[str, list[int]], labels: list[int], task: str) -> dict[str, float]:
    """Accuracy with each set of sides; in the task `both` also that of each half of the label."""
    targets = np.array(labels)
    found = {side: np.array(values) for side, values in predictions.items()}
    result = {side: float((values == targets).mean()) for side, values in found.items()}
    if task == "both":
        values = next(iter(found.values()))
        result |= {"timing": float((values // 2 == targets // 2).mean())}
        result |= {"fit": float((values % 2 == targets % 2).mean())}
    return result


def cell(values: list[float]) -> str:
    """Mean and interval for a table, in percent."""
    return "{:.1f} ({:.1f} to {:.1f})".format(*(100 * each for each in interval_of_mean(values)))


def to_markdown(results: dict[str, dict[str, float]], seeds: int, seconds: float) -> str:
    """The tables of report.md."""

    def values(fusion, column, **choices):
        jobs = [Job(fusion, seed, **choices) for seed in range(seeds)]
        return cell([results[job.name][column] for job in jobs])

    lines = ["| trained and tested on | accuracy | with or against | fitting or not |", "| --- | --- | --- | --- |"]
    for side in ("audio", "video"):
        row = [values(ALONE, column, side=side) for column in (side, "timing", "fit")]
        lines.append(f"| {side} alone | {' | '.join(row)} |")
    for fusion in FUSIONS:
        row = [values(fusion, column) for column in ("both", "timing", "fit")]
        lines.append(f"| both, `{fusion}` | {' | '.join(row)} |")
    lines += [
        "",
        "| fusion | modality dropout | both sides | audio missing | video missing |",
        "| --- |" + " --- |" * 4,
    ]
    for fusion in FUSIONS:
        for rate in (0.0, DROPOUT):
            choices = {"task": "either", "modality_dropout": rate}
            row = [values(fusion, column, **choices) for column in ("both", "video", "audio")]
            lines.append(f"| `{fusion}` | {rate} | {' | '.join(row)} |")
    lines += ["", f"Percent; the mean of {seeds} trainings with its 95 % interval (Student's t). Chance is 25 % in the"]
    lines += [f"first table and 50 % in its halves and in the second table. All took {seconds / 60:.1f} minutes.", ""]
    return "\n".join(lines)


def _start(threads: int):
    torch.set_num_threads(threads)


def _run(job: Job, steps: int | None) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        predictions = run_job(job, Path(folder), steps)
    return accuracies(predictions, [row["labels"] for row in generated_rows(job.task)[1]], job.task)


def main(
    output: Annotated[Path, typer.Option(help="Folder of results.json and report.md.")] = Path("outputs/audio_visual"),
    seeds: Annotated[int, typer.Option(help="Trainings of each kind.")] = 5,
    processes: Annotated[int, typer.Option(help="Trainings at a time, each on one core.")] = min(
        2, os.cpu_count() or 1
    ),
    steps: Annotated[int, typer.Option(help="Of each training, for a try; 0: as many as the results need.")] = 0,
):
    """Train every fusion on the generated set, and write tables of their accuracies."""
    started, file = time.perf_counter(), output / "results.json"
    key = {"steps": dict.fromkeys(STEPS, steps) if steps else STEPS, "labels": LABELS}
    state = json.loads(file.read_text()) if file.exists() else key | {"seconds": 0.0, "accuracies": {}}
    if any(state[name] != value for name, value in key.items()):
        raise typer.BadParameter(f"{file} holds other results; give another --output, or delete the folder.")
    before, done = state["seconds"], state["accuracies"]
    jobs = jobs_of(seeds)
    waiting = [job for job in jobs if job.name not in done]
    try:
        with (
            writing(output),
            ProcessPoolExecutor(processes, get_context("spawn"), initializer=_start, initargs=(1,)) as pool,
        ):
            futures = {job: pool.submit(_run, job, steps or None) for job in waiting}
            for job, future in track(futures.items(), "Training", console=Console(stderr=True)):
                done[job.name] = future.result()
                state["seconds"] = before + time.perf_counter() - started
                with replaced_file(file) as written:
                    written.write_text(json.dumps(state, indent=1))
            report = to_markdown(done, seeds, state["seconds"])
            with replaced_file(output / "report.md") as written:
                written.write_text(report)
    except DiskError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    print(report)


if __name__ == "__main__":
    typer.run(main)

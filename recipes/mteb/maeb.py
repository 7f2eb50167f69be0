"""Runs MTEB's benchmark of audio for a model of ours. Its recordings are downloaded from the Hub.

    pip install '.[mteb]'
    python -m recipes.mteb.maeb checkpoints/phrases
    python -m recipes.mteb.maeb parakeet.nemo --name nvidia/parakeet            # from_nemo
    python -m recipes.mteb.maeb microsoft/wavlm-base --encoder                  # from_encoder
    python -m recipes.mteb.maeb checkpoints/phrases --tasks CREMA_D --tasks GTZANGenre

The pooling and the projection of `from_nemo` and `from_encoder` are new and random: segments are means of frames, and
their scores are those of an untrained head.
"""

from pathlib import Path
from typing import Annotated

import mteb
import typer
from rich.console import Console
from rich.table import Table

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error

from .encoder import audio_branch_encoder

BENCHMARK = "MAEB(v1, audio-only)"


def load(model: str, encoder: bool) -> AudioBranchModel:
    """A checkpoint, a NeMo archive, or an encoder of Transformers."""
    means = {"pooling_type": "avg", "use_temporal_encoding": False}
    if model.endswith(".nemo"):
        return AudioBranchModel.from_nemo(model, **means).eval()
    if encoder:
        return AudioBranchModel.from_encoder(model, **means).eval()
    return AudioBranchModel.from_pretrained(model).eval()


def main(
    model: Annotated[str, typer.Argument(help="Folder or Hub repository of a checkpoint, or a .nemo archive.")],
    encoder: Annotated[bool, typer.Option("--encoder", help="The model is an encoder of Transformers.")] = False,
    name: Annotated[str | None, typer.Option(help="ORGANIZATION/MODEL under which results are stored.")] = None,
    benchmark: Annotated[str, typer.Option(help="Name of MTEB's benchmark.")] = BENCHMARK,
    tasks: Annotated[list[str] | None, typer.Option(help="Tasks in place of the benchmark's; may be repeated.")] = None,
    batch_size: Annotated[int, typer.Option(help="Clips that MTEB decodes at a time.")] = 32,
    output: Annotated[Path, typer.Option(help="Folder of MTEB's results, which are not computed twice.")] = Path(
        "outputs/mteb"
    ),
) -> None:
    """Runs a benchmark of MTEB, and prints the main score of each task."""
    with exit_on_error():
        wrapped = audio_branch_encoder(load(model, encoder), name or f"audio-branch/{Path(model).stem}")
        chosen = mteb.get_tasks(tasks=tasks) if tasks else mteb.get_benchmark(benchmark).tasks
        result = mteb.evaluate(
            wrapped,
            chosen,
            cache=mteb.ResultCache(output),
            encode_kwargs={"batch_size": batch_size},
            raise_error=False,
        )
    table = Table(title=f"{wrapped.mteb_model_meta.name}, main scores", box=None)
    table.add_column("task")
    table.add_column("score", justify="right")
    for each in result.task_results:
        table.add_row(each.task_name, f"{each.get_score():.4f}")
    for each in result.exceptions or []:
        table.add_row(each.task_name, f"failed: {each.exception.splitlines()[-1]:.80}")
    Console(width=120).print(table)
    if result.exceptions:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

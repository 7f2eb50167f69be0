"""A phrase by one speaker, found in a recording of another: a table, and a picture of the best hit.

python examples/find_phrase.py                                    # or: make demo; the recordings of examples/phrases
python examples/find_phrase.py phrase.wav interviews/ more.mp3    # your own
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import AudioIndex
from modeling_audio_branch.plots import plot_hit, save_figure

HERE = Path(__file__).parent
PHRASE, RECORDING = HERE / "phrases/paola_marked_urgent.flac", HERE / "phrases/carlo_voicemail.ogg"


def main(
    phrase: Annotated[Path | None, typer.Argument(help="The phrase alone, by anybody.")] = None,
    recordings: Annotated[list[Path] | None, typer.Argument(help="Audio files, and folders of them.")] = None,
    model: Annotated[str, typer.Option(help="Folder or Hub repository.")] = str(HERE.parent / "checkpoints/phrases"),
    top: Annotated[int, typer.Option(help="At most so many hits.")] = 3,
    output: Annotated[Path, typer.Option(help="Picture to write.")] = Path("outputs/find_phrase.png"),
) -> None:
    if phrase is not None and not recordings:
        raise typer.BadParameter("A phrase was given without recordings; give the files or folders to seek it in.")
    disable_progress_bar()  # of loading a few megabytes
    phrase, recordings = phrase or PHRASE, recordings or [RECORDING]
    with tempfile.TemporaryDirectory() as folder:
        try:
            index = AudioIndex(Path(folder, "index"), AudioBranchModel.from_pretrained(model))
            index.add(recordings)
            hits = index.find(phrase, top)
            save_figure(plot_hit(index, phrase, hits[0]), output)
        except Exception as error:  # a file or a model from anywhere may be wrong in any way
            typer.echo(f"The search failed with the model {model}: {error}".splitlines()[0], err=True)
            raise typer.Exit(1) from None
    console = Console(width=100, markup=False, emoji=False, highlight=False)
    table = Table("Hit", "start (s)", "end (s)", "score", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for hit in hits:
        table.add_row(Path(hit.file).name, f"{hit.start:.2f}", f"{hit.end:.2f}", f"{hit.score:.2f}")
    console.print(f"Where {phrase.name} is said:", soft_wrap=True)
    console.print(table)
    console.print(f"Picture: {output}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)

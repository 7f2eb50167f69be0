"""Two speakers say the same phrase: the cosine similarity of each segment of one and each segment of the other.

python examples/same_phrase.py                              # or: make demo; the recordings of examples/phrases
python examples/same_phrase.py first.wav same.wav other.wav --output picture.png
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.plots import plot_segment_similarity, save_figure, segment_similarity

HERE = Path(__file__).parent
NAMES = ("carlo_marked_urgent.flac", "paola_marked_urgent.flac", "paola_leave_message.flac")
RECORDINGS = [HERE / "phrases" / name for name in NAMES]
CREDIT = (
    "Voices: Carlo Flora, carloflora.com (CC BY 3.0); Paola Dal Zot and Marco Menardi, www.voip.ammdomus.it "
    "(CC BY-SA 3.0 IT). The model was trained on neither these speakers nor Italian."
)


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="A phrase, the same by somebody else, another.")] = None,
    model: Annotated[str, typer.Option(help="Folder or Hub repository.")] = str(HERE.parent / "checkpoints/phrases"),
    output: Annotated[Path, typer.Option(help="Picture to write.")] = Path("outputs/same_phrase.png"),
) -> None:
    if files and len(files) != 3:
        raise typer.BadParameter(f"{len(files)} files were given; give three: a phrase, the same one, and another.")
    disable_progress_bar()  # of loading a few megabytes
    phrase, *others = files or RECORDINGS
    try:
        loaded = AudioBranchModel.from_pretrained(model)
        similarity = segment_similarity(loaded, phrase, others)  # (2, S, S)
        save_figure(plot_segment_similarity(loaded, phrase, others), output)
    except Exception as error:  # a file or a model from anywhere may be wrong in any way
        typer.echo(f"The comparison failed with the model {model}: {error}".splitlines()[0], err=True)
        raise typer.Exit(1) from None
    table = Table("Phrase", "compared with", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("mean cosine similarity, in order", justify="right")
    for other, matrix in zip(others, similarity, strict=True):
        table.add_row(phrase.name, other.name, f"{matrix.diagonal().mean():.2f}")
    console = Console(width=100, markup=False, emoji=False, highlight=False)
    console.print(table)
    console.print(f"Picture: {output}", soft_wrap=True)
    if not files:
        console.print(CREDIT)


if __name__ == "__main__":
    typer.run(main)

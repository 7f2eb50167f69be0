"""Recordings to segment features: a table, a picture, and a check that the batch does not change a clip's features.

python examples/demo.py                                  # or: make demo; the recordings of examples/audio
python examples/demo.py speech.wav song.mp3              # your own; the picture shows the first
python examples/demo.py --output docs/segments.png       # the picture of the README
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import AutoModel
from transformers.utils.logging import disable_progress_bar

from modeling_audio_branch import plots  # importing the package makes AutoModel know its models

HERE = Path(__file__).parent
RECORDINGS = sorted(path for path in (HERE / "audio").iterdir() if path.suffix in {".wav", ".flac", ".ogg"})


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="Audio files; by default those of examples/audio.")] = None,
    model: Annotated[str, typer.Option(help="Folder or Hub repository.")] = str(HERE.parent / "checkpoints/phrases"),
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code")] = False,
    output: Annotated[Path, typer.Option(help="Picture to write.")] = Path("outputs/demo.png"),
) -> None:
    disable_progress_bar()  # of loading a few megabytes
    clips = files or RECORDINGS
    try:
        loaded = AutoModel.from_pretrained(model, trust_remote_code=trust_remote_code)
        batch = loaded.encode(clips)
        pictured = files[0] if files else clips[batch.segment_times[:, -1, 1].argmax()]
        plots.save_figure(plots.plot_segments(loaded, pictured), output)
        alone = torch.stack([loaded.encode(clip).segment_features for clip in clips])
    except Exception as error:  # a file or a model from anywhere may be wrong in any way
        typer.echo(f"The demo failed with the model {model}: {error}".splitlines()[0], err=True)
        raise typer.Exit(1) from None
    Console(width=100, markup=False, emoji=False, highlight=False).print(table(clips, batch))
    print(f"Picture of {pictured.name}: {output}")
    gap, largest = (alone - batch.segment_features).abs().max(), alone.abs().max()
    if len(clips) > 1:
        print(f"Each clip alone or in the batch: features differ by at most {gap:.0e} (the largest is {largest:.1f})")


def table(clips, batch) -> Table:
    """One row per clip: the borders of its segments and, between them, the norms of their features."""
    rows = Table("Clip", box=None, header_style="bold", padding=(0, 2, 1, 0))
    rows.add_column("Segment borders (s), feature norms between them")
    for clip, times, features in zip(clips, batch.segment_times, batch.segment_features, strict=True):
        borders = "".join(f"{border:<6.2f}" for border in [*times[:, 0].tolist(), times[-1, 1].item()])
        norms = "".join(f"{norm:<#6.3g}" for norm in features.norm(dim=-1).tolist())
        rows.add_row(clip.name, f"{borders}\n   {norms}")
    return rows


if __name__ == "__main__":
    typer.run(main)

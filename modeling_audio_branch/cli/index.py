"""`audio-branch index`: encodes recordings once, so that phrases are found in them."""

from pathlib import Path
from typing import Annotated

import typer

from .common import MODEL_HELP, TRUST_HELP, exit_on_error, load_model

DB_HELP = "Folder of the index."


def index(
    recordings: Annotated[list[Path], typer.Argument(help="Audio files, and folders of them.")],
    db: Annotated[Path, typer.Option(help=DB_HELP)],
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove these files from the index.")] = False,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Encode recordings once, so that phrases are found in them. Those that are there and unchanged are skipped."""
    from ..corpus import AudioIndex  # slow to import

    with exit_on_error():
        if remove:
            AudioIndex(db).remove(recordings)
            typer.echo(f"{len(recordings)} removed; the index {db} holds {len(AudioIndex(db))} recordings.")
            return
        audio_index = AudioIndex(db, load_model(model, trust_remote_code))
        done = audio_index.add(recordings, show_progress=True, on_error="skip")
        for sentence in done.errors.values():
            typer.echo(sentence, err=True)
        held = audio_index.recordings()
        hours = sum(recording.seconds for recording in held) / 3600
        typer.echo(
            f"{len(done.added)} added, {len(done.unchanged)} unchanged, {len(done.errors)} left out; the index {db} "
            f"holds {len(held)} recordings of {hours:.2f} hours."
        )
        if done.errors:
            raise typer.Exit(1)

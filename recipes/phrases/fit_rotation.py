"""Fits the rotation by which segment features are made smaller, and writes it to a checkpoint's folder.

    python -m recipes.phrases.prepare
    python -m recipes.phrases.fit_rotation checkpoints/phrases

No recording of the test is used: the principal components are those of the unit segments of 900 recordings of people.
"""

import random
from pathlib import Path
from typing import Annotated

import typer

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import fit_rotation, save_rotation

from ..debian_audio import PACKAGES, install
from .embedding import embed
from .fit_search import training_speech
from .transcripts import TRAINING_PACKAGES


def main(
    checkpoint: Annotated[
        Path, typer.Argument(help="Folder of the checkpoint; rotation.safetensors is written there.")
    ],
) -> None:
    """Fits the rotation by which segment features are made smaller."""
    install(TRAINING_PACKAGES, PACKAGES)
    model = AudioBranchModel.from_pretrained(checkpoint).eval()
    save_rotation(fit_rotation(embed(model, training_speech(random.Random(0)))), checkpoint)


if __name__ == "__main__":
    typer.run(main)

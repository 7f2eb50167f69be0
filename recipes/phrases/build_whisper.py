"""Builds the big model: Whisper base under our segment pooling, with the projection that `teacher` fitted on pairs.

    python -m recipes.phrases.teacher whisper-base
    python -m recipes.phrases.build_whisper whisper-base      # seconds; writes outputs/phrases_whisper

The encoder stays as it is. Its layer 5 is averaged over 8 segments, which the projection makes comparable across
speakers. It is not shipped, since others have the encoder's 20 M parameters anyway; small_whisper.py makes one that is.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError, writing

from .clips import clip_path
from .teacher import LAYER, PROJECTION, SEGMENTS

ONLY = 30.0  # of a layer's weight before the softmax: all others have e^-30


def build(whisper: Path, max_seconds: int, segmentation: str = "uniform") -> AudioBranchModel:
    """The model, for clips of up to `max_seconds`.

    Args:
        whisper: Folder of a Whisper model in Transformers' format.
        max_seconds: To which Whisper extends each clip; cost and memory are in proportion.
        segmentation: `uniform` or `learned`, which starts at the same times.

    Raises:
        SystemExit: No projection was fitted yet.
        ValueError: One sentence about `max_seconds`.
    """
    path = clip_path(*PROJECTION)
    if not path.exists():
        raise SystemExit(f"{path} is missing; run python -m recipes.phrases.teacher {whisper} first.")
    projection = load_file(path)
    model = AudioBranchModel.from_encoder(
        whisper,
        max_seconds=max_seconds,
        num_segments=SEGMENTS,
        feature_dim=len(projection["1.bias"]),
        pooling_type="avg",
        segmentation=segmentation,
        use_temporal_encoding=False,
        use_weighted_layer_sum=True,
    )
    with torch.no_grad():
        model.layer_weights[LAYER] = ONLY
    model.projection.load_state_dict(projection)
    return model


def main(
    whisper: Annotated[Path, typer.Argument(help="Folder of a Whisper model in Transformers' format")],
    output: Annotated[Path, typer.Option(help="Folder of the model")] = Path("outputs/phrases_whisper"),
    max_seconds: Annotated[int, typer.Option(help="Longest clip; the cost is in proportion")] = 8,
) -> None:
    """Builds Whisper base under our segment pooling, with the projection that was fitted on pairs."""
    with exit_on_error(ValueError, DiskError), writing(output):
        build(whisper, max_seconds).save_pretrained(output)


if __name__ == "__main__":
    typer.run(main)

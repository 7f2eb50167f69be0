"""Trains one fusion on the generated set, and leaves a model and videos for examples/audio_visual_fusion.py.

    python -m recipes.audio_visual.demo        # half a minute on two cores

The speech is that of two Debian packages, which are downloaded into data/.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from modeling_audio_branch.disk import DiskError, writing
from recipes.audio_visual.generated import FRAME_RATE, LABELS, RATE, GeneratedClip, make_clips
from recipes.audio_visual.generated_training import (
    DEMO_SEED,
    STEPS,
    TEST_SPEECH,
    generated_rows,
    make_trainer,
    predict,
    small_config,
    speech_of,
)
from recipes.audio_visual.model import AudioVisualForClassification, AudioVisualProcessor
from recipes.audio_visual.model.fusion import FUSIONS
from recipes.audio_visual.write_video import write_video

VIDEO_SCALE = 8  # pixels of the video for one of the generated frames


def main(
    fusion: Annotated[str, typer.Option(help="concat, gated, cross_attention or liquid.")] = "cross_attention",
    output: Annotated[Path, typer.Option(help="Folder of the model and the videos.")] = Path(
        "outputs/audio_visual_demo"
    ),
    steps: Annotated[int, typer.Option(help="Optimizer steps, for a try; 0: as many as the results need.")] = 0,
):
    """Train a fusion on the generated set, save it, and write a video of each label."""
    if fusion not in FUSIONS:
        raise typer.BadParameter(f"--fusion {fusion} was given; give {', '.join(FUSIONS)}.")
    try:
        with writing(output):
            accuracy, _ = train_demo(fusion, output, steps)
            for clip in make_clips(speech_of(TEST_SPEECH), len(LABELS["both"]), seed=DEMO_SEED):
                write_clip(output / f"{LABELS['both'][clip.label].replace(', ', '_')}.mp4", clip)
    except DiskError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    print(f"{100 * accuracy:.1f} % of the test clips are right (chance is 25 %); written to {output}")


def train_demo(fusion: str, output: Path, steps: int = 0) -> tuple[float, AudioVisualForClassification]:
    """Trains, and saves model and processor; the accuracy on the test clips, and the model."""
    training, test = generated_rows("both")
    with TemporaryDirectory() as folder:
        config = small_config(fusion)
        trainer = make_trainer(config, training, Path(folder), steps or STEPS["both"], DEMO_SEED)
        trainer.train()
        predictions = predict(trainer, test)
    trainer.model.save_pretrained(output)
    AudioVisualProcessor.from_model_config(config).save_pretrained(output)
    return float((predictions == [row["labels"] for row in test]).mean()), trainer.model


def write_clip(path: Path, clip: GeneratedClip) -> None:
    """A clip as a video file, enlarged so that one can watch it."""
    frames = clip.frames.repeat_interleave(VIDEO_SCALE, 1).repeat_interleave(VIDEO_SCALE, 2).numpy()
    write_video(path, frames, FRAME_RATE, clip.samples.clamp(-1, 1).numpy(), RATE)


if __name__ == "__main__":
    typer.run(main)

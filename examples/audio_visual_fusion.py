"""A video through an audio-visual classifier: its label with both sides and with each alone, and which segments count.

python -m recipes.audio_visual.demo                                  # first: trains a model, writes a few videos
python examples/audio_visual_fusion.py                               # or: clip.mp4 --model USER/NAME
"""

from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import torch
import typer
from transformers import AutoModelForVideoClassification, AutoProcessor

from modeling_audio_branch.plots import save_figure, styled

DEMO = Path("outputs/audio_visual_demo")
AUDIO, VIDEO = ("input_features", "attention_mask"), ("pixel_values", "frame_times", "video_mask")


@styled
def plot_weights(batch, output, rate):
    figure, axes = plt.subplots(3, figsize=(9, 5), height_ratios=(1, 1, 2), layout="constrained")
    wave, limits = batch["input_features"][0], (0, batch["input_features"].shape[1] / rate)
    film = torch.cat([*batch["pixel_values"][0]], -1).permute(1, 2, 0)  # (H, frames * W, 3)
    axes[0].imshow((film - film.min()) / (film.max() - film.min()), aspect="auto")
    axes[0].set(title="frames that the model sees", xticks=[], yticks=[])
    axes[1].plot([n / rate for n in range(len(wave))], wave, linewidth=0.5, color="#22303c")
    axes[1].set(title="sound", yticks=[], xlim=limits)
    starts, width = output.segment_times[0, :, 0], 0.4 * output.segment_times[0].diff()[:, 0]
    axes[2].bar(starts + 0.75 * width, output.modality_weights[0, 0], width, color="#1f5f99", label="audio")
    axes[2].bar(starts + 1.75 * width, output.modality_weights[0, 1], width, color="#e07b28", label="video")
    axes[2].set(title="weight in the fusion", xlabel="seconds", xlim=limits)
    axes[2].legend(frameon=False, ncols=2, loc="upper right")
    return figure


def main(
    video: Annotated[Path, typer.Argument(help="A video with sound.")] = DEMO / "with_fitting.mp4",
    model: Annotated[str, typer.Option(help="Folder or Hub repository, whose code is run.")] = str(DEMO),
    output: Annotated[Path, typer.Option(help="Picture to write.")] = Path("outputs/audio_visual_weights.png"),
) -> None:
    try:
        loaded = AutoModelForVideoClassification.from_pretrained(model, trust_remote_code=True).requires_grad_(False)
        batch = AutoProcessor.from_pretrained(model, trust_remote_code=True)(str(video))
        for name, inputs in {"both sides": AUDIO + VIDEO, "audio alone": AUDIO, "video alone": VIDEO}.items():
            if {*inputs} <= batch.keys():  # the file may lack a side
                found = loaded(**{key: batch[key] for key in inputs})
                probability, label = found.logits[0].softmax(-1).max(-1)
                print(f"{name}: {loaded.config.id2label[int(label)]} ({probability:.2f})")
                if name == "both sides":
                    save_figure(plot_weights(batch, found, loaded.config.audio_config.sample_rate), output)
        print(f"Picture: {output}" if {*AUDIO, *VIDEO} <= batch.keys() else "No picture: a side is missing.")
    except Exception as error:  # a file or a model from anywhere may be wrong in any way
        typer.echo(f"The classification of {video} with {model} failed: {error}".splitlines()[0], err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)

"""Recordings to segment features: a table of the numbers, and a picture of where they come from.

    pip install -e '.[demo]'                                     # or: make demo
    python examples/demo.py                                      # the recordings of examples/audio
    python examples/demo.py speech.wav song.mp3                  # your own; the picture shows the first
    python examples/demo.py --model FOLDER_OR_REPO               # another checkpoint than checkpoints/phrases
    python examples/demo.py --output docs/segments.png           # the picture of the README

The checkpoint's own code is run only with --trust-remote-code; that of the installed package is enough.
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table
from transformers import AutoModel
from transformers.audio_utils import hertz_to_mel
from transformers.utils.logging import disable_progress_bar

from modeling_audio_branch import AudioBranchFeatureExtractor
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.pooling import segment_bounds

matplotlib.use("Agg")

CHECKPOINT = str(Path(__file__).parents[1] / "checkpoints" / "phrases")
RECORDINGS = Path(__file__).parent / "audio"
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
PICTURED_SECONDS = 20  # the picture's attention maps grow with the square of the length
INK, BLUE, ORANGE = "#22303c", "#1f5f99", "#e07b28"
STYLE = dict.fromkeys(["text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"], INK)
STYLE |= {"font.size": 11, "axes.titlesize": 12, "axes.titlelocation": "left", "axes.titleweight": "bold"}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#a9b4bd"}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="audio files (default: those of examples/audio)")
    parser.add_argument("--model", default=CHECKPOINT, help="folder or repository of a checkpoint")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the code that comes with the checkpoint")
    parser.add_argument("--output", type=Path, default=Path("outputs/demo.png"), help="the picture to write")
    args = parser.parse_args(argv)
    # Piped output has no width of its own, and a file may be called "song [live].mp3".
    disable_progress_bar()  # of loading a few megabytes
    console = Console(width=None if sys.stdout.isatty() else 100, markup=False, emoji=False, highlight=False)
    files = args.files or sorted(path for path in RECORDINGS.iterdir() if path.suffix in SUFFIXES)
    try:
        model = load_model(args.model, args.trust_remote_code)
        batch = model.encode(files)
        console.print(table(files, batch))
        pictured = args.files[0] if args.files else files[batch.segment_times[:, -1, 1].argmax()]
        draw(model, pictured, args.output)
        console.print(f"Picture of {pictured.name}: {args.output}", soft_wrap=True)
        console.print(promise(model, files, batch), soft_wrap=True)
    except (OSError, ValueError, TypeError, ImportError) as error:  # all of them say in a sentence what is wrong
        print(error, file=sys.stderr)
        return 1
    return 0


def load_model(name, trust_remote_code):
    try:
        model = AutoModel.from_pretrained(name, trust_remote_code=trust_remote_code)
    except Exception as error:  # a foreign folder may be wrong in any way
        raise ValueError(f"The model {name!r} can't be loaded: {str(error).strip().splitlines()[0]}") from error
    if not hasattr(model, "encode"):
        raise ValueError(f"The model {name!r} is a {type(model).__name__}; give a checkpoint of Audio Branch.")
    return model


def table(files, batch):
    """A row per clip: the borders of its segments and, between them, the norms of their features."""
    rows = Table("Clip", box=None, header_style="bold", padding=(0, 2, 1, 0))
    rows.add_column("Seconds", justify="right")
    rows.add_column("Segments", justify="right")
    rows.add_column("Segment borders (s), feature norms between them")
    for file, times, features in zip(files, batch.segment_times, batch.segment_features, strict=True):
        borders = "".join(f"{border:<6.2f}" for border in [*times[:, 0].tolist(), times[-1, 1].item()])
        norms = "".join(f"{norm:<#6.3g}" for norm in features.norm(dim=-1).tolist())
        rows.add_row(file.name, f"{times[-1, 1]:.2f}", str(len(times)), f"{borders}\n   {norms}")
    return rows


def promise(model, files, batch):
    if len(files) == 1:
        return "Give more than one clip to see that a clip's features don't depend on the others."
    alone = torch.stack([model.encode(file).segment_features for file in files])
    difference, largest = (alone - batch.segment_features).abs().max(), alone.abs().max()
    return (
        f"Each clip alone or in the batch: features differ by at most {difference:.0e} (the largest is {largest:.1f})"
    )


@torch.no_grad()
def draw(model, file, output):
    """Waveform, log-mel frames and pooling weights of one clip over time, cut by the segment borders."""
    config = model.config
    whole = load_audio(file, config.sample_rate)  # (samples,)
    samples = whole[: PICTURED_SECONDS * config.sample_rate]
    extractor = AudioBranchFeatureExtractor.from_model_config(config)
    inputs = extractor(samples, sampling_rate=config.sample_rate, return_tensors="pt")
    result = model(**inputs, output_attentions=True)
    log_mel = inputs["input_features"][0][inputs["attention_mask"][0].bool()]  # (T, M)
    times = result.segment_times[0].tolist()
    seconds = times[-1][1]
    if not seconds:
        raise ValueError(f"{file.name} is shorter than a log-mel frame: nothing to picture; give a longer clip first.")
    length = f"{seconds:.1f} s" if len(samples) == len(whole) else f"its first {seconds:.0f} s"

    peak = 1.1 * samples.abs().max().item() or 1.0
    panels = 2 if result.pooling_attentions is None else 3  # max pooling weighs no frames
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            panels, figsize=(9, 1.9 * panels), sharex=True, height_ratios=[1, 1.6, 1.1][:panels], layout="constrained"
        )
        axes[0].set_title(f"{file.name}: {length} in {len(times)} segments", pad=24)
        axes[0].plot(torch.arange(len(samples)) / config.sample_rate, samples, color=BLUE, linewidth=0.4)
        axes[0].set(ylabel="Waveform", yticks=[], ylim=(-peak, peak))
        # Few shades and no blending of pixels make the file a third as large.
        look = {"cmap": plt.get_cmap("Blues", 16), "vmin": -2, "vmax": 3, "interpolation": "nearest"}
        axes[1].imshow(log_mel.T, origin="lower", aspect="auto", extent=(0, seconds, 0, config.n_mels), **look)
        axes[1].set(ylabel="Log-mel (kHz)", **mel_ticks(config))
        if panels == 3:
            draw_weights(axes[2], result, config)
        for number, (start, end) in enumerate(times, 1):
            axes[0].text((start + end) / 2, 1.04, number, transform=axes[0].get_xaxis_transform(), ha="center")
            for axis in axes if start else []:  # each line goes on across the gap above its panel
                axis.axvline(start, ymax=1.14, clip_on=False, color=ORANGE, linewidth=1).set_in_layout(False)
        axes[-1].set(xlabel="Seconds", xlim=(0, seconds))
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, dpi=120, format=output.suffix[1:] or "png")
    plt.close(figure)


def mel_ticks(config):
    """Where some round frequencies lie among the mel bins, of which bin i is drawn from i to i + 1."""
    nyquist = config.sample_rate / 2
    kilohertz = [k for k in (0.5, 1, 2, 4, 8, 16) if k * 1000 < nyquist]
    mel = hertz_to_mel(np.array([*kilohertz, nyquist / 1000]) * 1000, mel_scale="slaney")
    return {"yticks": mel[:-1] / mel[-1] * (config.n_mels + 1) - 0.5, "yticklabels": kilohertz}


def draw_weights(axis, result, config):
    """What each frame weighs in its segment (mean of the heads), in parts of what it would weigh in a plain mean."""
    weights = result.pooling_attentions[0].float().mean(0)  # (S, T')
    times = (torch.arange(weights.shape[1]) + 0.5) / config.frame_rate
    bounds = segment_bounds(result.attention_mask.sum(-1), len(weights))
    for row, start, end in zip(weights, *(bound[0].tolist() for bound in bounds), strict=True):
        relative = row[start:end] * (end - start)
        axis.fill_between(times[start:end], 1, relative, color=BLUE, alpha=0.25, linewidth=0)
        axis.plot(times[start:end], relative, color=BLUE, linewidth=1)
    axis.axhline(1, color=INK, linewidth=0.6)
    axis.set_ylabel("Pooling weight\n(1: plain mean)")


if __name__ == "__main__":
    sys.exit(main())

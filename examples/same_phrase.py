"""Two speakers say the same phrase: the likeness of each segment of one to each of the other, as a picture.

python examples/same_phrase.py                              # or: make demo; the recordings of examples/phrases
python examples/same_phrase.py first.wav same.wav other.wav --output picture.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from transformers.utils.logging import disable_progress_bar

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio

matplotlib.use("Agg")

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "phrases"
NAMES = ("carlo_marked_urgent.flac", "paola_marked_urgent.flac", "paola_leave_message.flac")
RECORDINGS = [Path(__file__).parent / "phrases" / name for name in NAMES]
CREDIT = (
    "Voices: Carlo Flora, carloflora.com (CC BY 3.0); Paola Dal Zot and Marco Menardi, www.voip.ammdomus.it "
    "(CC BY-SA 3.0 IT). Neither speaker, nor any Italian, was in the training."
)
BLUE, INK = "#1f5f99", "#22303c"


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="a phrase, the same by somebody else, another phrase")
    parser.add_argument("--model", default=CHECKPOINT, help="folder or repository of a checkpoint")
    parser.add_argument("--output", type=Path, default=Path("outputs/same_phrase.png"), help="the picture to write")
    args = parser.parse_args(argv)
    if len(args.files) not in (0, 3):
        parser.error(f"{len(args.files)} files were given; give three: a phrase, the same one, and another.")
    files = args.files or RECORDINGS
    disable_progress_bar()  # of loading a few megabytes
    console = Console(width=None if sys.stdout.isatty() else 100, markup=False, emoji=False, highlight=False)
    try:
        model = AudioBranchModel.from_pretrained(args.model).eval()
        features = F.normalize(model.encode(files, show_progress=False).segment_features.float(), dim=-1)  # (3, S, D)
        waves = [load_audio(file, model.config.sample_rate) for file in files]
        likeness = [features[0] @ other.T for other in features[1:]]  # two of (S, S)
        draw(files, waves, likeness, args.output)
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    table = Table("Phrase", "compared with", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("mean likeness of the segments, in order", justify="right")
    for file, each in zip(files[1:], likeness, strict=True):
        table.add_row(files[0].name, file.name, f"{each.diagonal().mean():.2f}")
    console.print(table)
    console.print(f"Picture: {args.output}", soft_wrap=True)
    if not args.files:
        console.print(CREDIT)
    return 0


def draw(files: list[Path], waves: list[torch.Tensor], likeness: list[torch.Tensor], output: Path) -> None:
    """A square of cosines for each pair, with the first recording's waveform beside it and the second's above it."""
    colours = {"text.color": INK, "axes.labelcolor": INK, "axes.titlesize": 11}
    with plt.rc_context(colours):
        figure, axes = plt.subplots(
            2, 4, figsize=(10, 5.4), width_ratios=[1, 6, 1, 6], height_ratios=[1, 6], layout="constrained"
        )
        for column, (file, wave, each) in enumerate(zip(files[1:], waves[1:], likeness, strict=True)):
            corner, above, beside, square = axes[:, 2 * column : 2 * column + 2].flatten()
            square.imshow(each, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            for row, values in enumerate(each.tolist()):
                for place, value in enumerate(values):
                    ink = "white" if value > 0.6 else INK
                    weight = "bold" if row == place else "normal"
                    square.text(
                        place, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink, weight=weight
                    )
            square.set(xticks=[], yticks=[])
            above.plot(wave, color=BLUE, linewidth=0.4)
            beside.plot(waves[0], range(len(waves[0]), 0, -1), color=BLUE, linewidth=0.4)
            above.set_xlim(0, len(wave))
            beside.set_ylim(0, len(waves[0]))
            above.set_title(f"{file.stem}: {each.diagonal().mean():.2f} along the diagonal")
            beside.set_ylabel(files[0].stem)
            for axis in (corner, above, beside):
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, dpi=110, format=output.suffix[1:] or "png")
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())

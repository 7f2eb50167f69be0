"""Segment pooling on an encoder that somebody else trained: what comes out, and what to do next.

    python examples/pretrained_encoder.py microsoft/wavlm-large     # any audio encoder of Transformers, or its folder
    python examples/pretrained_encoder.py parakeet-ctc-0.6b.nemo    # an archive of NVIDIA NeMo, read without NeMo

The pooling and the projection are new and random: train them before you use the features (examples/finetune.py).
"""

from pathlib import Path
from typing import Annotated

import typer

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel

HERE = Path(__file__).parent
RECORDINGS = sorted(path for path in (HERE / "audio").iterdir() if path.suffix in {".wav", ".flac", ".ogg"})


def main(
    source: Annotated[str, typer.Argument(help="A .nemo archive, a folder or a Hub repository.")],
    output: Annotated[Path, typer.Option(help="Folder for the checkpoint.")] = Path("outputs/pretrained_encoder"),
) -> None:
    try:
        load = AudioBranchModel.from_nemo if source.endswith(".nemo") else AudioBranchModel.from_encoder
        model = load(source)
        batch = model.encode(RECORDINGS)
        alone = model.encode(RECORDINGS, same_length_batches=True)
        model.save_pretrained(output)
        AudioBranchFeatureExtractor.from_model(model).save_pretrained(output)
    except (OSError, ValueError, TypeError, ImportError) as error:
        typer.echo(str(error).splitlines()[0], err=True)
        raise typer.Exit(1) from None
    for part, count in model.num_parameters_by_part().items():
        print(f"{part:<12}{count:>12,} parameters" + (" (new)" if part in ("pooling", "projection") else ""))
    print(f"segment_features of {len(RECORDINGS)} recordings: {tuple(batch.segment_features.shape)}")
    difference = (alone.segment_features - batch.segment_features).abs().max()
    print(f"Each clip alone or in a padded batch: features differ by at most {difference:.0e}")
    if difference > 1e-3:
        print("This encoder depends on the padding: use encode(clips, same_length_batches=True).")
    print(f"Next: python examples/finetune.py FOLDER --checkpoint {output}")


if __name__ == "__main__":
    typer.run(main)

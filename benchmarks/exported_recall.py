"""What the exported checkpoint finds, in float32 and int8: R@1 of the phrases of two speakers.

    pip install av                        # decodes half of the recordings, which come from Debian packages
    python -m benchmarks.exported_recall  # 5 minutes

Protocol, speakers and recordings are those of `recipes.phrases.evaluate`.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export import Format, OnnxModel, export_model
from recipes.debian_audio import PACKAGES, install
from recipes.phrases.asterisk import SPEAKER_PAIRS
from recipes.phrases.metrics import mean_segment_cosine, recall_at_k
from recipes.phrases.retrieval import load_pairs


def embed(model, clips: list, sampling_rate: int) -> torch.Tensor:
    """Unit segment features (N, S, D)."""
    return F.normalize(model.encode(clips, sampling_rate, batch_size=8).segment_features.float(), dim=-1)


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
) -> None:
    """Measures R@1 of the model, of its ONNX export and of the int8 variants."""
    model = AudioBranchModel.from_pretrained(checkpoint).eval()
    with tempfile.TemporaryDirectory() as folder:
        export_model(model, Path(folder, "out"), int8=True)
        export_model(model, Path(folder, "openvino"), Format.OPENVINO, int8=True)
        ways = {
            "the model itself": model,
            "onnx": OnnxModel(Path(folder, "out")),
            "onnx, int8": OnnxModel(Path(folder, "out"), "model_int8.onnx"),
            "openvino, int8": OnnxModel(Path(folder, "openvino"), "model_int8.xml"),
        }
        table = Table(title="R@1 in percent", box=None)
        for column in ("", *SPEAKER_PAIRS):
            table.add_column(column, justify="right" if column else "left")
        rows = {name: [] for name in ways}
        for packages in SPEAKER_PAIRS.values():
            install(list(packages), PACKAGES)
        for language in SPEAKER_PAIRS:
            first, second = load_pairs(language)
            for name, way in ways.items():
                scores = mean_segment_cosine(
                    *(embed(way, clips, model.config.sample_rate) for clips in (first, second))
                )
                rows[name].append(f"{100 * recall_at_k(scores, 1).mean().item():.1f}")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)

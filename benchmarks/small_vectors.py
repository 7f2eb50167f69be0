"""What smaller segment features cost: R@1 and MAP of the phrases of two speakers, and bytes of a clip.

    python -m recipes.phrases.prepare
    python -m benchmarks.small_vectors

A phrase of one speaker is sought among all phrases of the other, in both directions, by the mean cosine similarity of
the stored segments in order. There is one right phrase, so that MAP is the mean of 1 / rank. The first rows are what
the model gives, in float32. Languages and speakers are those of `recipes.phrases.evaluate`; none was heard in training.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import FeatureFormat, compress, similarity
from modeling_audio_branch.corpus.compression import rotation_of
from modeling_audio_branch.hub.writing import replaced_file
from recipes.phrases.asterisk import SPEAKER_PAIRS
from recipes.phrases.embedding import embed
from recipes.phrases.metrics import recall_at_k
from recipes.phrases.retrieval import load_pairs

FORMS = [
    *(FeatureFormat("float32"), FeatureFormat("float16"), FeatureFormat("int8"), FeatureFormat("binary")),
    *(FeatureFormat("float16", 256), FeatureFormat("float16", 128), FeatureFormat("float16", 64)),
    *(FeatureFormat("int8", 256), FeatureFormat("int8", 128), FeatureFormat("int8", 64), FeatureFormat("int8", 32)),
    *(FeatureFormat("binary", 512), FeatureFormat("binary", 256), FeatureFormat("binary", 128)),
]


def mean_average_precision(scores: torch.Tensor) -> float:
    """Over both directions of scores (N, N), whose diagonal holds the right ones; a tie counts as worse."""
    ranks = [len(each) - (each < each.diagonal()[:, None]).sum(1) for each in (scores, scores.T)]
    return torch.cat([1 / rank.double() for rank in ranks]).mean().item()


def measure(first: torch.Tensor, second: torch.Tensor, form: FeatureFormat, rotation: torch.Tensor) -> dict[str, float]:
    """R@1 and MAP in percent of pairs of segment features (N, S, D), and the bytes of a clip."""
    stored = [compress(each, form, rotation) for each in (first, second)]
    scores = torch.from_numpy(similarity(*stored, form.dtype))
    recall = 100 * recall_at_k(scores, 1).mean().item()
    return {
        "R@1": recall,
        "MAP": 100 * mean_average_precision(scores),
        "bytes": int(np.prod(stored[0].shape[1:])) * stored[0].itemsize,
    }


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository with a rotation.")] = "checkpoints/phrases",
    output: Annotated[Path, typer.Option(help="File of the results.")] = Path("outputs/small_vectors.json"),
) -> None:
    """Measures what smaller segment features cost."""
    model = AudioBranchModel.from_pretrained(checkpoint).eval()
    rotation = rotation_of(checkpoint, model.config.feature_dim)
    pairs = {language: [embed(model, clips) for clips in load_pairs(language)] for language in SPEAKER_PAIRS}
    table = Table(title="Phrases of two speakers, R@1 / MAP in percent", box=None)
    for column in ("dtype", "dim", "bytes", "times smaller", *pairs, "mean"):
        table.add_column(column, justify="left" if column == "dtype" else "right")
    results, whole = [], None
    for form in FORMS:
        rows = {language: measure(*pair, form, rotation) for language, pair in pairs.items()}
        size = next(iter(rows.values()))["bytes"]
        whole = whole or size
        means = {name: float(np.mean([row[name] for row in rows.values()])) for name in ("R@1", "MAP")}
        cells = [f"{row['R@1']:.1f} / {row['MAP']:.1f}" for row in [*rows.values(), means]]
        table.add_row(form.dtype, str(form.dim or ""), str(size), f"{whole / size:.0f}", *cells)
        results.append({"dtype": form.dtype, "dim": form.dim, "bytes": size, "languages": rows, "mean": means})
    Console(width=120).print(table)
    with replaced_file(output) as path:
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

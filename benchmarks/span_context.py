"""How far the features of a span of a recording are from those of the same clip cut out and embedded alone.

    python -m benchmarks.haystacks
    python -m benchmarks.span_context

The encoder sees what is around the span, and the front end normalises over the recording. For the phrases of the first
tape of each speaker: the cosine similarity of the sequence embeddings, median and 10 % quantile, with the attention
window narrowed to so many frames to each side. The last column is the median of two different phrases.
"""

from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from recipes.phrases.audio import SAMPLE_RATE

from .haystacks import MAX_PHRASE, MIN_PHRASE, load_tapes

WINDOWS = (None, 32, 16, 8, 4, 2)
SECONDS = 120  # of each tape: full attention sees all of it


def main(checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases") -> None:
    """Compares spans with the clips cut out."""
    model = AudioBranchModel.from_pretrained(checkpoint).eval()
    tapes = [_cut_out(model, tape) for tape in {tape.speaker: tape for tape in reversed(load_tapes())}.values()]
    table = Table("attention window", "median", "10 % quantile", "of different phrases", box=None)
    for window in WINDOWS:
        model = AudioBranchModel.from_pretrained(checkpoint, attention_window=window).eval()
        same, different = [], []
        for samples, spans, alone in tapes:
            inside = model.encode(samples, SAMPLE_RATE, spans=spans).sequence_embedding  # (N, S * feature_dim)
            cosine = inside @ alone.T  # (N, N)
            same.append(cosine.diagonal())
            different.append(cosine[~torch.eye(len(cosine), dtype=torch.bool)])
        same, different = torch.cat(same), torch.cat(different)
        values = (same.median(), same.quantile(0.1), different.median())
        name = "all" if window is None else f"{window} frames"
        table.add_row(name, *(f"{value.item():.2f}" for value in values))
    Console().print(table)


def _cut_out(model, tape):
    """The start of a tape, the spans of its phrases in seconds, and the embeddings of each cut out, (N, ...)."""
    samples = load_audio(tape.path, SAMPLE_RATE)[: SECONDS * SAMPLE_RATE]
    phrases = [p for p in tape.phrases if MIN_PHRASE <= p.end - p.start <= MAX_PHRASE and p.end < SECONDS]
    spans = [(phrase.start, phrase.end) for phrase in phrases]
    cut = [samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] for start, end in spans]
    return samples, spans, model.encode(cut, SAMPLE_RATE, show_progress=False).sequence_embedding


if __name__ == "__main__":
    typer.run(main)

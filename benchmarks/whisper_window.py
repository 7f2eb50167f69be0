"""What a shorter window of Whisper costs and saves: `AudioBranchModel.from_encoder(whisper, max_seconds=)`.

    python -m recipes.phrases.prepare
    python -m benchmarks.whisper_window FOLDER      # a Whisper model in Transformers' format; 2 minutes on two cores

Kajongg's recordings, one clip at a time, with the mean of the last hidden state over 8 segments. Cosine similarity to
the segments with the window of 30 s (median and 10 % quantile), time of a clip as a part of the time with 30 s (median
over the clips), and R@1 of the same phrase by another speaker, for which nothing was trained.
"""

import statistics
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from modeling_audio_branch import AudioBranchModel
from recipes.debian_audio import kajongg_phrases
from recipes.phrases.audio import SAMPLE_RATE, read_speech
from recipes.phrases.metrics import hits_of_speakers

WINDOWS = (30, 8, 4, 3)  # seconds


def segments(model, clips: list) -> tuple[torch.Tensor, list[float]]:
    """Unit vectors (N, 8, D), the means of the last hidden state over the segments, and the seconds of each clip."""
    found, times = [], []
    pooled = model.pooling.register_forward_hook(lambda _, __, output: found.append(output[0][0]))
    for clip in clips:
        start = time.perf_counter()
        model.encode(clip, SAMPLE_RATE, show_progress=False)
        times.append(time.perf_counter() - start)
    pooled.remove()
    return F.normalize(torch.stack(found), dim=-1), times


def main(
    whisper: Annotated[Path, typer.Argument(help="Folder of a Whisper model in Transformers' format")],
    phrases: Annotated[int, typer.Option(help="Of each language of Kajongg")] = 12,
) -> None:
    """Compares windows of Whisper."""
    languages = [[speaker[:phrases] for speaker in each] for each in kajongg_phrases().values()]
    clips = [read_speech(path) for speakers in languages for speaker in speakers for path in speaker]
    table = Table("window", "cosine, median", "10 % quantile", "time", "R@1", title=f"{len(clips)} clips", box=None)
    whole = whole_times = None
    for seconds in WINDOWS:
        means = {"pooling_type": "avg", "use_temporal_encoding": False}
        model = AudioBranchModel.from_encoder(whisper, max_seconds=seconds, **means)
        found, times = segments(model, clips)
        whole, whole_times = (found, times) if whole is None else (whole, whole_times)
        cosines = (found * whole).sum(-1).flatten()
        speakers = found.split(phrases)
        hits = [hit for first in range(0, len(speakers), 4) for hit in hits_of_speakers(speakers[first : first + 4])]
        ratio = statistics.median(one / other for one, other in zip(times, whole_times, strict=True))
        values = (f"{cosines.median():.3f}", f"{cosines.quantile(0.1):.3f}", f"{ratio:.2f}")
        table.add_row(f"{seconds} s", *values, f"{100 * statistics.mean(hits):.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)

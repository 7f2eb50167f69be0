"""Finds phrases of one speaker in hours of another's recordings, compared with the ways that exist.

    python -m benchmarks.haystacks
    python -m benchmarks.phrase_search                                 # AudioIndex and DTW of MFCCs; 40 minutes
    python -m benchmarks.phrase_search --whisper FOLDER:5              # also frozen frames of a Whisper's layer 5
    python -m benchmarks.phrase_search --windows --tapes 1             # also windows cut out, and as spans of one pass

Each phrase of a language is sought in all tapes of the other speaker, on which it is said twice. A hit is right if it
overlaps the phrase by more than half of the shorter of the two. P@1: the best hit is right. MAP: mean average precision
of the best 50 hits. MTWV: maximum term-weighted value (NIST STD 2006; beta 999.9, a trial each second, one threshold
for all queries). Start: median error of the start of best hits that are right. ECE: expected calibration error of the
probability of the best hits. A phrase whose words are also in another prompt counts as wrong there.
"""

import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from modeling_audio_branch.hub.writing import replaced_file
from recipes.phrases.asterisk import SPEAKER_PAIRS
from recipes.phrases.baselines import parse_encoder

from .haystacks import QUERIES, Query, Tape, load_queries, load_tapes
from .search_methods import CutWindows, Found, Ours, PooledWindows, SpanWindows, Warping, WhisperFrames, mfcc_warping

BETA = 999.9
BINS = 5  # of probabilities
TIMED = 10  # queries of each language that are sought in all tapes, to be timed


def judge(hits: list[Found], query: Query, tapes: list[Tape]) -> tuple[list[bool], list[float], int]:
    """Whether each hit is right, the errors of their starts in seconds, and how often the phrase is said."""
    said = {(tape.path, number): each for tape in tapes for number, each in enumerate(tape.phrases)}
    said = {key: each for key, each in said.items() if each.name == query.name}
    right, errors, count = [], [], len(said)
    for hit in hits:
        match = next((key for key, each in said.items() if key[0] == hit.tape and _overlaps(hit, each)), None)
        right.append(match is not None)
        errors.append(abs(hit.start - said.pop(match).start) if match else float("nan"))
    return right, errors, count


def _overlaps(hit, phrase):
    shared = min(hit.end, phrase.end) - max(hit.start, phrase.start)
    return shared > 0.5 * min(hit.end - hit.start, phrase.end - phrase.start)


def average_precision(right: list[bool], count: int) -> float:
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float((precision * right).sum() / count)


def maximum_term_weighted_value(judged: list[tuple[list[Found], list[bool], int]], seconds: float) -> float:
    """The value at the best threshold of the scores of all queries' hits."""
    hits = [
        (hit.score, is_right, count)
        for found, right, count in judged
        for hit, is_right in zip(found, right, strict=True)
    ]
    best = value = 0.0
    for _, is_right, count in sorted(hits, key=lambda each: -each[0]):
        value += 1 / count if is_right else -BETA / (seconds - count)
        best = max(best, value / len(judged))
    return best


def calibration_error(probabilities: list[float], right: list[bool]) -> float:
    """The mean distance of probability and share that is right, over bins of equal width."""
    bins = np.minimum((np.array(probabilities) * BINS).astype(int), BINS - 1)
    values = np.array([probabilities, right], dtype=float)
    gaps = [abs(np.subtract(*values[:, bins == each].mean(1))) * (bins == each).mean() for each in set(bins.tolist())]
    return float(sum(gaps))


def measure(method, queries: list[Query], tapes: list[Tape]) -> dict[str, float]:
    """The measures of one method in one language."""
    judged, errors, times, best = [], [], [], []
    for query in track(queries, f"{method.name}, {queries[0].language}", transient=True):
        sought = [tape for tape in tapes if tape.speaker == query.sought_speaker]
        start = time.perf_counter()
        hits = method.find(query, sought)
        times.append(time.perf_counter() - start)
        right, starts, count = judge(hits, query, sought)
        if count:
            judged.append((hits, right, count))
            best.append((getattr(method, "probabilities", [None])[0], right[0]))
            errors += starts[:1] if right[0] else []
    seconds = sum(soundfile.info(tape.path).duration for tape in tapes) / 2  # each query is sought in one speaker's
    measures = {
        "queries": len(judged),
        "P@1": float(np.mean([right[0] for _, right, _ in judged])),
        "MAP": float(np.mean([average_precision(right, count) for _, right, count in judged])),
        "MTWV": maximum_term_weighted_value(judged, seconds),
        "start": statistics.median(errors) if errors else float("nan"),
        "seconds a query": statistics.median(times),
    }
    if best[0][0] is not None:
        measures["ECE"] = calibration_error(*map(list, zip(*best, strict=True)))
    return measures


def index_all(method, tapes: list[Tape]) -> float:
    """Seconds that all tapes take."""
    start = time.perf_counter()
    for tape in track(tapes, f"{method.name}: indexing", transient=True):
        method.index(tape)
    return time.perf_counter() - start


def methods_of(checkpoint: str, whisper: list[str], dtw: bool, windows: bool):
    """The methods one after the other, so that only one is in memory."""
    yield Ours(checkpoint)
    if windows:
        yield CutWindows(checkpoint)
        yield SpanWindows(checkpoint)
    if dtw:
        yield mfcc_warping()
    for each in whisper:
        folder, layer = parse_encoder(each)
        frames = WhisperFrames(folder, layer)
        warping = Warping(f"DTW of {Path(folder).name}, layer {layer}", frames, frames.frame_seconds)
        yield warping
        yield PooledWindows(f"{Path(folder).name}, layer {layer}, 8 segments", warping)


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
    whisper: Annotated[list[str] | None, typer.Option(help="FOLDER:LAYER of a WhisperModel; may be repeated.")] = None,
    dtw: Annotated[bool, typer.Option(help="Dynamic time warping of MFCCs.")] = True,
    windows: Annotated[bool, typer.Option(help="Windows embedded one by one.")] = False,
    tapes: Annotated[int | None, typer.Option(help="Only so many tapes of each speaker.")] = None,
    queries: Annotated[int, typer.Option(help="At most so many queries of each language.")] = QUERIES,
    output: Annotated[Path, typer.Option(help="File of the results.")] = Path("outputs/phrase_search.json"),
) -> None:
    """Measures how well and how fast phrases are found."""
    chosen, counts = [], defaultdict(int)
    for tape in load_tapes():
        counts[tape.speaker] += 1
        chosen += [tape] if tapes is None or counts[tape.speaker] <= tapes else []
    hours = sum(soundfile.info(tape.path).duration for tape in chosen) / 3600
    table = Table(title=f"Phrases found in {hours:.2f} hours of 6 speakers", box=None)
    columns = ("queries", "P@1", "MAP", "MTWV", "start", "seconds a query", "ECE")
    for column in ("method", "language", *columns):
        table.add_column(column, justify="left" if column in ("method", "language") else "right")
    results = {"hours": hours, "methods": {}}
    for method in methods_of(checkpoint, whisper or [], dtw, windows):
        seconds = index_all(method, chosen)
        rows = results["methods"][method.name] = {"seconds to index": seconds, "languages": {}}
        for language in SPEAKER_PAIRS:
            of_language = [tape for tape in chosen if tape.language == language]
            row = rows["languages"][language] = measure(method, load_queries(language, queries), of_language)
            table.add_row(method.name, language, *(f"{row[each]:.3g}" if each in row else "" for each in columns))
        times = []
        for query in [each for language in SPEAKER_PAIRS for each in load_queries(language, TIMED)]:
            start = time.perf_counter()
            method.find(query, chosen)
            times.append(time.perf_counter() - start)
        rows["seconds a query in all"] = statistics.median(times[1:])
        rows["longest"] = max(times[1:])
        with replaced_file(output) as path:
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console = Console(width=130)
    console.print(table)
    for name, rows in results["methods"].items():
        in_all, longest = rows["seconds a query in all"], rows["longest"]
        seconds = f"a query in all {hours:.1f} hours {in_all:.3f} s, at most {longest:.2f} s"
        console.print(f"{name}: indexed in {rows['seconds to index']:.0f} s; {seconds}")


if __name__ == "__main__":
    typer.run(main)

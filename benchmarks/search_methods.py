"""Ways to find a phrase in recordings, which `benchmarks.phrase_search` compares.

Each has `index(tape)`, which is called once for a tape, and `find(query, tapes)`, which gives hits, the best first.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
from torch.nn import functional as F
from torchaudio.functional import resample
from transformers import WhisperFeatureExtractor, WhisperModel

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.corpus import AudioIndex
from recipes.phrases.audio import SAMPLE_RATE
from recipes.phrases.dtw import HOP, mfcc

from .haystacks import Query, Tape

TOP = 50  # hits of a query that count
OVERLAP = 0.3  # of the shorter of two hits, above which the worse one is left out


@dataclass(frozen=True)
class Found:
    """A place, in seconds, and how well it fits."""

    tape: Path
    start: float
    end: float
    score: float


def best_of(candidates: list[Found]) -> list[Found]:
    """The best hits that don't overlap, the best first."""
    kept = []
    for hit in sorted(candidates, key=lambda each: -each.score):
        if len(kept) == TOP:
            break
        if not any(_overlap(hit, other) for other in kept):
            kept.append(hit)
    return kept


def _overlap(first, second):
    shared = min(first.end, second.end) - max(first.start, second.start)
    return first.tape == second.tape and shared > OVERLAP * min(first.end - first.start, second.end - second.start)


class Ours:
    """`AudioIndex`, as users have it."""

    name = "AudioIndex"

    def __init__(self, checkpoint: str):
        self._folder = tempfile.TemporaryDirectory()
        self.audio_index = AudioIndex(Path(self._folder.name, "index"), checkpoint)

    def index(self, tape: Tape) -> None:
        self.audio_index.add(tape.path)

    def find(self, query: Query, tapes: list[Tape]) -> list[Found]:
        hits = self.audio_index.find(query.samples, TOP, SAMPLE_RATE, [tape.path for tape in tapes])
        self.probabilities = [hit.probability for hit in hits]
        return [Found(Path(hit.file), hit.start, hit.end, hit.score) for hit in hits]


class Warping:
    """Subsequence dynamic time warping of unit vectors by librosa, each recording by itself."""

    def __init__(self, name: str, compute_frames, frame_seconds: float):
        self.name, self.compute_frames, self.frame_seconds, self.frames = name, compute_frames, frame_seconds, {}

    def index(self, tape: Tape) -> None:
        self.frames[tape.path] = self.compute_frames(load_audio(tape.path, SAMPLE_RATE).numpy())

    def find(self, query: Query, tapes: list[Tape]) -> list[Found]:
        phrase, candidates = self.compute_frames(query.samples), []
        for tape in tapes:
            distance = (1 - phrase @ self.frames[tape.path].T).numpy()
            total, _, steps = librosa.sequence.dtw(C=distance, subseq=True, return_steps=True)
            cost = torch.from_numpy(total[-1] / len(phrase))
            width = max(1, len(phrase) // 2)
            lowest = -F.max_pool1d(-cost[None, None], 2 * width + 1, stride=1, padding=width)[0, 0]
            ends = (cost == lowest).nonzero().flatten()
            for end in ends[cost[ends].argsort()[:TOP]].tolist():
                path = librosa.sequence.dtw_backtracking(steps, subseq=True, start=end)
                start = path[-1][1] * self.frame_seconds
                candidates.append(Found(tape.path, start, (end + 1) * self.frame_seconds, -cost[end].item()))
        return best_of(candidates)


class PooledWindows:
    """The frames of another method, averaged over 8 segments of windows of five lengths around the query's.

    The score of a window is the mean cosine of its segments and the query's, in order.
    """

    factors, hop_seconds, segments = (0.7, 0.85, 1.0, 1.2, 1.4), 0.2, 8

    def __init__(self, name: str, other: Warping):
        self.name, self._other, self._tapes = name, other, {}

    def index(self, tape: Tape) -> None:
        self._tapes[tape.path] = _sums(self._other.frames[tape.path])

    def find(self, query: Query, tapes: list[Tape]) -> list[Found]:
        frames, frame_seconds = self._other.compute_frames(query.samples), self._other.frame_seconds
        phrase = self._segments(_sums(frames), torch.tensor([0]), len(frames))[0]
        candidates, hop = [], max(1, round(self.hop_seconds / frame_seconds))
        for tape in tapes:
            sums = self._tapes[tape.path]
            for factor in self.factors:
                length = max(self.segments, round(factor * len(frames)))
                starts = torch.arange(0, len(sums) - 1 - length, hop)
                scores = (self._segments(sums, starts, length) * phrase).sum((1, 2)) / self.segments
                for score, best in zip(*scores.topk(min(4 * TOP, len(scores))), strict=True):
                    start = starts[best].item() * frame_seconds
                    candidates.append(Found(tape.path, start, start + length * frame_seconds, score.item()))
        return best_of(candidates)

    def _segments(self, sums, starts, length):
        borders = starts[:, None] + torch.arange(self.segments + 1) * length // self.segments  # (N, S + 1)
        values = sums[borders]
        return F.normalize((values[:, 1:] - values[:, :-1]).float(), dim=-1)


def _sums(frames):
    """Of the first 0, 1, ..., T frames (T, D)."""
    return F.pad(frames.double().cumsum(0), (0, 0, 1, 0))


class CutWindows:
    """Windows of seven lengths that are cut out and embedded one by one by the model; the mean cosine in order."""

    name, hop_seconds = "windows embedded one by one", 0.2
    lengths = 0.8, 1.1, 1.5, 2.0, 2.7, 3.6, 4.8  # seconds

    def __init__(self, checkpoint: str):
        self._model, self._tapes = AudioBranchModel.from_pretrained(checkpoint).eval(), {}

    def index(self, tape: Tape) -> None:
        samples = load_audio(tape.path, SAMPLE_RATE)
        for length, starts in self._windows(samples):
            cut = [samples[round(s * SAMPLE_RATE) : round((s + length) * SAMPLE_RATE)] for s in starts]
            self._tapes.setdefault(tape.path, []).append((length, starts, self._embed(cut).half()))

    def _windows(self, samples):
        """Each length, and where its windows start, in seconds."""
        ends = [len(samples) / SAMPLE_RATE - length for length in self.lengths]
        return [(length, np.arange(0, end, self.hop_seconds)) for length, end in zip(self.lengths, ends, strict=True)]

    def _embed(self, clips):
        return self._model.encode(clips, SAMPLE_RATE, batch_size=16, show_progress=False).sequence_embedding

    def find(self, query: Query, tapes: list[Tape]) -> list[Found]:
        vector, candidates = self._embed([query.samples])[0], []
        for tape in tapes:
            for length, starts, vectors in self._tapes[tape.path]:
                scores = vectors.float() @ vector
                for score, best in zip(*scores.topk(min(4 * TOP, len(scores))), strict=True):
                    start = float(starts[best])
                    candidates.append(Found(tape.path, start, start + length, score.item()))
        return best_of(candidates)


class SpanWindows(CutWindows):
    """The same windows as spans of one pass, in which the encoder sees what is around them."""

    name = "windows as spans of one pass"

    def index(self, tape: Tape) -> None:
        samples = load_audio(tape.path, SAMPLE_RATE)
        windows = self._windows(samples)
        spans = [(start, start + length) for length, starts in windows for start in starts]
        vectors = self._model.encode(samples, SAMPLE_RATE, spans=spans).sequence_embedding.half()
        parts = vectors.split([len(starts) for _, starts in windows])
        self._tapes[tape.path] = [(*window, part) for window, part in zip(windows, parts, strict=True)]


class WhisperFrames:
    """Standardised frames of a frozen Whisper encoder as unit vectors (T, D), 50 a second.

    Args:
        folder: Of a WhisperModel in Transformers' format.
        layer: Whose output is taken; -1 is the last, after the final norm.
    """

    frame_seconds, window_seconds, context_seconds = 0.02, 28, 1

    def __init__(self, folder: str, layer: int):
        self._encoder = WhisperModel.from_pretrained(folder).encoder.eval()
        self._extractor = WhisperFeatureExtractor(feature_size=self._encoder.config.num_mel_bins)
        self._layer, self._statistics = layer, None

    @torch.no_grad()
    def __call__(self, samples: np.ndarray) -> torch.Tensor:
        samples = resample(torch.from_numpy(samples), SAMPLE_RATE, 16000)
        rows, step, context = [], self.window_seconds * 16000, self.context_seconds * 16000
        for start in range(0, len(samples), step):
            first = max(0, start - context)
            window = samples[first : start + step + context].numpy()
            features = self._extractor(window, sampling_rate=16000, return_tensors="pt").input_features
            states = self._encoder(features, output_hidden_states=True).hidden_states[self._layer][0]
            length = min(step, len(samples) - start)
            rows.append(states[(start - first) // 320 : (start - first + length + 319) // 320])
        frames = torch.cat(rows)
        if self._statistics is None:  # of the first tape
            self._statistics = frames.mean(0), frames.std(0)
        mean, deviation = self._statistics
        return F.normalize((frames - mean) / deviation, dim=-1)


def mfcc_warping() -> Warping:
    """The baseline of the recipe (see `recipes.phrases.dtw`), 100 frames a second."""
    return Warping("DTW of MFCCs (librosa)", mfcc, HOP / SAMPLE_RATE)

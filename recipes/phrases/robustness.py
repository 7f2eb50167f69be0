"""What noise, rooms, telephones, silence and other speeds cost: retrieval with changed queries.

The clips of each language's second speaker are changed, and those of the first are as they were.
"""

from collections.abc import Callable

import numpy as np
import torch
from torchaudio.functional import add_noise, mu_law_decoding, mu_law_encoding, speed

from .asterisk import SPEAKER_PAIRS
from .audio import SAMPLE_RATE
from .augment import encode_gsm
from .embedding import embed
from .metrics import bootstrap_ci, mean_segment_cosine, recall_at_k
from .results import RobustnessResult
from .retrieval import load_pairs

SILENCE_SECONDS = 0.3
NOISE_DECIBELS = -20.0  # of the noise at the ends, from the clip's power


def _mu_law(samples, _):
    return mu_law_decoding(mu_law_encoding(torch.from_numpy(samples).clamp(-1, 1), 256), 256).numpy()


def _noise(decibels):
    def change(samples, generator):
        noise = torch.from_numpy(generator.standard_normal(len(samples)).astype(np.float32))
        return add_noise(torch.from_numpy(samples), noise, torch.tensor(decibels)).numpy()

    return change


def _reverberation(samples, generator):
    """A room whose echoes fall by 60 dB in 0.4 s, as strong together as the direct sound."""
    times = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    echoes = generator.standard_normal(len(times)) * 10 ** (-3 * times / 0.4)
    echoes /= np.sqrt(np.square(echoes).sum())
    echoes[0] += 1.0
    return np.convolve(samples, echoes)[: len(samples)].astype(np.float32)


def _at_ends(decibels):
    def change(samples, generator):
        size = int(SILENCE_SECONDS * SAMPLE_RATE)
        level = 0.0 if decibels is None else np.sqrt(np.square(samples).mean()) * 10 ** (decibels / 20)
        before, after = (level * generator.standard_normal((2, size))).astype(np.float32)
        return np.concatenate([before, samples, after])

    return change


def _speed(factor):
    def change(samples, _):
        return speed(torch.from_numpy(samples), SAMPLE_RATE, factor)[0].numpy()

    return change


CONDITIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "clean": lambda samples, _: samples,
    "GSM": lambda samples, _: encode_gsm(samples),
    "mu-law": _mu_law,
    "noise, 10 dB": _noise(10.0),
    "noise, 0 dB": _noise(0.0),
    "reverberation": _reverberation,
    "0.3 s of silence at both ends": _at_ends(None),
    "0.3 s of noise at both ends": _at_ends(NOISE_DECIBELS),
    "0.8 times as fast": _speed(0.8),
    "1.25 times as fast": _speed(1.25),
}


def evaluate_robustness(models: dict) -> list[RobustnessResult]:
    """R@1 of models, by name, in each language and condition, over both directions."""
    results = []
    for language in SPEAKER_PAIRS:
        first, second = load_pairs(language)
        keys = {name: embed(model, first) for name, model in models.items()}
        for condition, change in CONDITIONS.items():
            generator = np.random.default_rng(0)
            queries = [change(clip, generator) for clip in second]
            for name, model in models.items():
                hits = recall_at_k(mean_segment_cosine(embed(model, queries), keys[name]), 1)
                results.append(RobustnessResult(language, condition, name, bootstrap_ci(hits)))
    return results

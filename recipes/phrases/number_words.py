"""Zero-shot recognition of number words: a recording is compared with synthesized clips of all numbers."""

import random
from pathlib import Path

import numpy as np
import torch

from .asterisk import NUMBER_SPEAKERS, NUMBERS, prompts
from .audio import read_speech, trim_and_normalize
from .embedding import embed
from .espeak import Espeak
from .metrics import mean_segment_cosine
from .results import NumberWordsResult
from .retrieval import DTW, dtw_scores

NUM_VOICES = 8


def evaluate_number_words(models: dict, with_dtw: bool) -> list[NumberWordsResult]:
    """Which recorded number words are most similar to the synthesized clips of their own number, by the mean of 8."""
    espeak, generator, results = Espeak(), random.Random(0), []
    for language, speakers in NUMBER_SPEAKERS.items():
        synthesized = synthesize_numbers(espeak, language, generator)
        keys = {name: embed(model, synthesized) for name, model in models.items()}
        for speaker in speakers:
            recordings = number_recordings(speaker)
            clips = [read_speech(path) for path in recordings.values()]
            scores = {name: mean_segment_cosine(embed(model, clips), keys[name]) for name, model in models.items()}
            if with_dtw:
                scores[DTW] = dtw_scores(clips, synthesized)
            for name, each in scores.items():
                right = is_right(each, [*recordings])
                results.append(NumberWordsResult(language, speaker, name, right))
    return results


def synthesize_numbers(espeak: Espeak, language: str, generator: random.Random) -> list[np.ndarray]:
    """Each number by 8 voices: number by number, voice by voice."""
    voices = generator.sample(espeak.variants, NUM_VOICES)
    clips = [
        espeak.synthesize(str(number), language + voice, generator.randint(130, 200), pitch=50)
        for number in NUMBERS
        for voice in voices
    ]
    return [trim_and_normalize(clip.samples) for clip in clips]


def number_recordings(package: str) -> dict[int, Path]:
    """A speaker's recordings by their numbers."""
    paths = prompts(package)
    return {number: paths[f"digits/{number}"] for number in NUMBERS if f"digits/{number}" in paths}


def is_right(scores: torch.Tensor, spoken: list[int]) -> list[float]:
    """1.0 where the best number of scores (N, 28 * 8), averaged over the voices, is the spoken one, else 0.0."""
    best = scores.unflatten(1, (len(NUMBERS), NUM_VOICES)).mean(2).argmax(1).tolist()
    return [float(NUMBERS[index] == number) for index, number in zip(best, spoken, strict=True)]

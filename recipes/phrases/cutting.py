"""Cuts short phrases of one to three words out of a recording."""

import random
import re
import zlib

import numpy as np

from ..debian_audio import DATA
from .alignment import word_starts
from .audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE, decode, trim, trim_and_normalize
from .espeak import Espeak
from .transcripts import Transcript

NUM_VOICES = 5
MARGIN = 0.03  # seconds kept around a run of words: surplus sound differs between clips, missing sound is lost


def cut_words(transcript: Transcript, espeak: Espeak) -> list[tuple[str, np.ndarray]]:
    """(text, samples) of up to four random runs of one to three words of a recording."""
    try:
        recording = trim(decode(transcript.path))
    except ValueError:  # a file without samples
        return []
    words = list(re.finditer(r"\w\S*", transcript.text))
    if not MIN_SECONDS * SAMPLE_RATE <= len(recording) <= MAX_SECONDS * SAMPLE_RATE or len(words) < 2:
        return []
    # Seeded by the file, so that the result does not depend on the order in which processes work.
    generator = random.Random(zlib.crc32(str(transcript.path.relative_to(DATA)).encode()))
    voices = generator.sample(espeak.variants, NUM_VOICES)
    positions = [word.start() for word in words]
    starts, is_certain = word_starts(espeak, recording, transcript.text, positions, transcript.language, voices)
    starts, is_certain = [*starts, len(recording) / SAMPLE_RATE], [*is_certain, True]  # the end of the last word
    runs = {}
    for count in (1, 1, 2, 3):
        if len(words) <= count:
            continue
        first = generator.randrange(len(words) - count + 1)
        text = " ".join(word.group() for word in words[first : first + count])
        # The next word and those between must be certain, too: espeak-ng may speak them together with this run.
        if not all(is_certain[first : first + count + 1]) or re.search(r"\d", text):
            continue
        start, end = starts[first] - MARGIN, starts[first + count] + MARGIN
        samples = trim_and_normalize(recording[max(0, round(start * SAMPLE_RATE)) : round(end * SAMPLE_RATE)])
        if len(samples) >= MIN_SECONDS * SAMPLE_RATE:
            runs[plain_text(text)] = samples
    return list(runs.items())


def plain_text(text: str) -> str:
    """Lower case, without punctuation other than apostrophes and hyphens."""
    return re.sub(r"[^\w' -]", "", text.replace("’", "'").lower())

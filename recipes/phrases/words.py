"""Cuts words out of the training recordings: short phrases, said by people.

    python examples/phrases_data.py
    python examples/phrase_words.py      # 6 minutes; adds words.npy and words.json to data/phrases

espeak-ng tells when each word of its rendering begins, and dynamic time warping of MFCCs carries these times over to
the recording: the median over renderings by several voices. Each recording gives some of its runs of one to three
words; their texts get renderings of their own, where these are no shorter than a training clip may be.
"""

import argparse
import json
import math
import multiprocessing
import random
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent))
from phrases_data import DATA, LONGEST, RATE, SHORTEST, Espeak, decode, edges, speech, transcripts, trim
from warping import HOP, mfcc, path_of

VOICES = 5
AGREEMENT = 0.05  # seconds between the second and the fourth of their times; else the word is left out
SLACK = 0.03  # seconds around a word: what is too much differs between clips, what is missing is lost


def carried_over(times: list[float], rendering: torch.Tensor, recording: torch.Tensor) -> list[float]:
    """Where these moments of a rendering lie in a recording of the same text (seconds), by the MFCCs of both."""
    rows, columns = path_of(1 - rendering @ recording.T)
    return np.interp(times, rows * HOP / RATE, columns * HOP / RATE).tolist()


def word_times(espeak: Espeak, recording: np.ndarray, words: list[tuple[int, str]], text, language, voices):
    """When each of the words, (place in the text, word), begins in the recording (seconds), and whether that is sure.

    Not sure are words that a voice runs together with others, and those on whose time the voices don't agree.
    """
    found, coefficients = [], mfcc(recording)
    for voice in voices:
        rendering = espeak.say(text, language + voice, 160, 50)
        speaks = edges(rendering)
        if len(rendering[speaks]) < SHORTEST * RATE:  # a text of signs
            return [0.0] * len(words), [False] * len(words)
        known = {}
        for place, seconds in espeak.words:
            known.setdefault(place, max(0.0, seconds - speaks.start / RATE))
        times = [known.get(place, math.nan) for place, _ in words]
        found.append(carried_over(times, mfcc(rendering[speaks]), coefficients))
    found = np.sort(found, axis=0)  # (voices, words), what isn't known last
    sure = np.isfinite(found[-1]) & (found[-2] - found[1] <= AGREEMENT)
    return found[len(voices) // 2].tolist(), sure.tolist()


def cut(job) -> list[tuple[str, np.ndarray]]:
    """(text, samples) of some runs of one to three words of a recording."""
    path, text, language, _ = job
    try:
        recording = trim(decode(path))
    except ValueError:  # a file without samples
        return []
    words = [(match.start(), match.group()) for match in re.finditer(r"\w\S*", text)]
    if not SHORTEST * RATE <= len(recording) <= LONGEST * RATE or len(words) < 2:
        return []
    generator = random.Random(zlib.crc32(str(path.relative_to(DATA)).encode()))
    voices = generator.sample(cut.espeak.variants, VOICES)
    starts, sure = word_times(cut.espeak, recording, words, text, language, voices)
    starts, sure = [*starts, len(recording) / RATE], [*sure, True]  # and the end
    found = {}
    for count in (1, 1, 2, 3):
        if len(words) <= count:
            continue
        first = generator.randrange(len(words) - count + 1)
        run = " ".join(word for _, word in words[first : first + count])
        # The word behind must be sure, too, and so those between, which might be said with it.
        if not all(sure[first : first + count + 1]) or re.search(r"\d", run):
            continue
        start, end = starts[first] - SLACK, starts[first + count] + SLACK
        samples = speech(recording[max(0, round(start * RATE)) : round(end * RATE)])
        if len(samples) >= SHORTEST * RATE:
            found[re.sub(r"[^\w' -]", "", run.replace("’", "'").lower())] = samples
    return list(found.items())


def render(job) -> list[tuple[str, np.ndarray]]:
    """(voice, samples) of renderings of a text."""
    text, language, count = job
    generator = random.Random(zlib.crc32(f"{language} {text}".encode()))
    found = []
    for variant in generator.sample(cut.espeak.variants, count):
        samples = cut.espeak.say(text, language + variant, generator.randint(110, 240), generator.randint(20, 80))
        found.append((f"espeak{variant}", speech(samples)))
    return [(voice, samples) for voice, samples in found if len(samples) >= SHORTEST * RATE]


def start_process():
    torch.set_num_threads(1)
    cut.espeak = Espeak()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderings", type=int, default=2, help="espeak-ng voices for each run of words")
    arguments = parser.parse_args()
    target = DATA / "phrases"
    if (target / "words.json").exists():
        print(f"{target / 'words.json'} is there already.")
        return
    rows, clips, place = [], [], 0

    def keep(samples, text, language, voice):
        nonlocal place
        clips.append((samples * 32000).astype(np.int16))
        rows.append({"start": place, "length": len(samples), "text": text, "language": language, "voice": voice})
        place += len(samples)

    jobs = transcripts(DATA / "root")
    with multiprocessing.get_context("spawn").Pool(2, start_process) as pool:
        for (_, _, language, voice), found in zip(
            jobs, track(pool.imap(cut, jobs, 16), "Cutting words", len(jobs)), strict=True
        ):
            for text, samples in found:
                keep(samples, text, language, voice)
        humans = len(rows)
        texts = [*dict.fromkeys((row["text"], row["language"], arguments.renderings) for row in rows)]
        for (text, language, _), found in zip(
            texts, track(pool.imap(render, texts, 16), "Rendering", len(texts)), strict=True
        ):
            for voice, samples in found:
                keep(samples, text, language, voice)
    np.save(target / "words.npy", np.concatenate(clips))
    (target / "words.json").write_text(json.dumps(rows))
    print(f"{humans} runs of words cut out, {len(rows) - humans} renderings of {len(texts)} texts.")


if __name__ == "__main__":
    main()

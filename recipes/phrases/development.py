"""The recordings on which settings are chosen: phrases and syllables that several people say."""

import random
import re
from pathlib import Path

from ..debian_audio import PACKAGES, kajongg_phrases
from .audio import read_speech
from .embedding import embed
from .metrics import hits_of_speakers

GCIN = "gcin-voice"  # syllables of Mandarin by two people
GCIN_SYLLABLES = 300


def gcin_syllables(root: Path = PACKAGES) -> list[list[Path]]:
    """Files of 300 random syllables of Mandarin by two people, in the same order; no two differ by their tone alone."""
    files = {}
    for path in sorted((root / GCIN).rglob("*.ogg")):
        files.setdefault(path.parent.name, []).append(path)
    syllables = {re.sub(r"\d", "", name): pair for name, pair in sorted(files.items()) if len(pair) == 2}
    pairs = [*syllables.values()]
    pairs = random.Random(0).sample(pairs, min(GCIN_SYLLABLES, len(pairs)))
    return [list(speaker) for speaker in zip(*pairs, strict=True)]


class DevelopmentSets:
    """R@1 among Kajongg's phrases (two languages, four people each) and among gcin's syllables (two people)."""

    def __init__(self):
        sets = {"Kajongg": list(kajongg_phrases().values()), "gcin": [gcin_syllables()]}
        self.sets = {
            name: [[[read_speech(path) for path in speaker] for speaker in speakers] for speakers in languages]
            for name, languages in sets.items()
        }

    def measure(self, model) -> dict[str, float]:
        """R@1 in percent by set, over all pairs of its speakers, in both directions."""
        was_training = model.training
        model.eval()
        recall = {}
        for name, languages in self.sets.items():
            embedded = [[embed(model, clips) for clips in speakers] for speakers in languages]
            hits = [hit for speakers in embedded for hit in hits_of_speakers(speakers)]
            recall[name] = round(100 * sum(hits) / len(hits), 1)
        model.train(was_training)
        return recall

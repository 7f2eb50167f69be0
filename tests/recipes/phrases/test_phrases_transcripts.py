"""The texts of training."""

from recipes.debian_audio import KAJONGG
from recipes.phrases.asterisk import SPEAKER_PAIRS, TEST_PACKAGES
from recipes.phrases.transcripts import DIALOGUE_LANGUAGES, STAMP_LANGUAGES, TRAINING_PACKAGES, WORD_LANGUAGES


def test_italian_is_nowhere_among_the_training_texts():
    assert "it" not in {*WORD_LANGUAGES, *STAMP_LANGUAGES, *DIALOGUE_LANGUAGES}
    packages = {package for pair in SPEAKER_PAIRS.values() for package in pair}
    assert not {*TRAINING_PACKAGES} & {*TEST_PACKAGES, *packages, KAJONGG}

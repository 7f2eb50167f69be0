"""Texts that anybody may use."""

import pytest

from recipes.phrases.free_texts import LANGUAGES, MAX_CHARACTERS, free_texts, messages


@pytest.mark.parametrize("language", ["es", "fr", "ru"])
def test_the_texts_are_different_always_the_same_and_without_digits(language):
    texts = free_texts(language, 400)
    assert len(set(texts)) == len(texts) == 400
    assert texts == free_texts(language, 400) and texts[:300] == free_texts(language, 300)
    assert not any(character.isdigit() for text in texts for character in text)
    assert all(len(text) <= MAX_CHARACTERS for text in texts[101:])


def test_a_language_without_number_words_counts_in_digits_for_espeak():
    assert free_texts("bg", 3) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "Enter a list of values."), ("fr", "Saisissez une liste de valeurs.")]
)
def test_messages_are_whole_texts_of_a_language(language, sentence):
    texts = messages(language)
    assert sentence in texts and len(texts) > 300 and texts == messages(language)
    assert not any(character in text for text in texts for character in "%{}<>()0123456789\n")
    assert all(text[0].isalpha() and len(text) <= MAX_CHARACTERS for text in texts)


def test_italian_stays_unseen_and_is_refused_in_a_sentence():
    assert "it" not in LANGUAGES
    with pytest.raises(ValueError, match="no texts in 'it'; give one of bg, ca,"):
        free_texts("it", 10)
    with pytest.raises(ValueError, match="no texts in 'it'"):
        messages("it")

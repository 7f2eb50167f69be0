"""Errors as sentences that people can use."""

import os

import pytest

from modeling_audio_branch.app.sentences import need, sentence_of, short_name


def test_a_sentence_names_the_file_and_not_its_place_on_the_server():
    error = ValueError("The clip ('/tmp/gradio/12ab/a b.wav') can't be read.\nMore.")
    assert sentence_of(error, [None, "/tmp/gradio/12ab/a b.wav"]) == "The clip ('a b.wav') can't be read."
    relative = sentence_of(ValueError(f"{os.getcwd()}/in/a.wav is gone; in/a.wav was given."), ["in/a.wav"])
    assert relative == "a.wav is gone; a.wav was given."
    assert sentence_of(TypeError()) == "TypeError"


def test_a_missing_file_is_asked_for():
    assert need("a.wav", "clip") == "a.wav"
    for nothing in (None, ""):
        with pytest.raises(ValueError, match="No phrase was given; record one, or drop"):
            need(nothing, "phrase")


def test_long_names_are_cut_in_their_middle():
    assert short_name("/tmp/clip.wav") == "clip.wav"
    name = short_name("/tmp/" + "a" * 90 + "_end.wav", 20)
    assert len(name) == 20 and name.endswith("_end.wav") and "..." in name

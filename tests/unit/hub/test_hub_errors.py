"""Errors of the Hub and of the network become one sentence."""

from types import SimpleNamespace

import pytest

from modeling_audio_branch.hub.errors import explain, first_line


class HubError(Exception):
    def __init__(self, status):
        super().__init__("hf_secret\nmany lines")
        self.response = SimpleNamespace(status_code=status)


def wrapped(error):
    """As huggingface_hub raises what happened to a large file."""
    outer = RuntimeError("Error while uploading a file")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (HubError(401), "does not accept the token"),
        (HubError(403), "may not write to alice/tiny"),
        (HubError(409), "alice/tiny was changed by somebody else"),
        (HubError(412), "alice/tiny was changed by somebody else"),
        (HubError(500), "answered with an error (500)"),
        (wrapped(wrapped(HubError(403))), "may not write to alice/tiny"),
        (ValueError("line 1\n  line 2"), "does not accept the card's metadata (line 1 line 2)"),
        (OSError(28, "hf_secret"), "The disk of this machine cannot be written (No space left on device)"),
        (wrapped(RuntimeError("hf_secret (os error 28)")), "The disk of this machine cannot be written"),
        (ConnectionError("hf_secret"), "connection to the Hub was lost (ConnectionError)"),
    ],
)
def test_an_error_is_explained_in_one_sentence_without_its_own_text(error, sentence):
    text = explain(error, "alice/tiny")
    assert sentence in text and text.endswith(".") and "\n" not in text and "hf_secret" not in text


def test_the_first_line_of_an_error_or_its_class():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"

"""Text of users: what is readable, and what Markdown shows unchanged."""

import pytest

from modeling_audio_branch.hub.errors import CardError
from modeling_audio_branch.hub.text import check_readable, escape_markdown, is_readable


@pytest.mark.parametrize("text", ["mit", "Übung 3", "日本"])
def test_readable_text(text):
    assert is_readable(text)
    check_readable(license=text, tag=None)


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\x1b[31m", "\ud800"])
def test_unreadable_text_is_refused_with_the_name_of_its_option(text):
    assert not is_readable(text)
    with pytest.raises(CardError, match="--tag is .* not readable UTF-8 text"):
        check_readable(license="mit", tag=text)


def test_markdown_is_escaped_on_one_line():
    assert escape_markdown("a\n# b | *c* [d](e) <f>") == r"a \# b \| \*c\* \[d\](e) \<f\>"
    assert escape_markdown(6) == "6"

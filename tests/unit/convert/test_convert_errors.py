"""Errors of malformed archives become a part of one sentence."""

import pytest

from modeling_audio_branch.convert.errors import first_line


@pytest.mark.parametrize(
    ("error", "part"),
    [(ValueError("one\ntwo"), "one"), (MemoryError(), "MemoryError"), (ValueError("x" * 999), "x" * 160)],
)
def test_the_start_of_a_message_or_the_kind_of_the_error_is_kept(error, part):
    assert first_line(error) == part

"""The snippet of the card."""

from modeling_audio_branch.hub.snippet import usage_snippet, with_output


def test_a_revision_is_pinned_wherever_code_is_loaded():
    pinned = usage_snippet("alice/tiny", "abc")
    compile(pinned, "the card's snippet", "exec")
    assert pinned.count('repo, revision="abc", trust_remote_code=True') == 2
    assert usage_snippet("alice/tiny") == pinned.replace('revision="abc", ', "")


def test_each_printed_line_stands_behind_its_print_call():
    assert with_output("a = 1\nprint(a)\n\nprint(2)\n", ["1", "2"]) == "a = 1\nprint(a)  # 1\n\nprint(2)  # 2"

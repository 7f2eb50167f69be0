"""README.md of a folder as sections: the publisher's words stay, ours are written anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_audio_branch.hub.errors import CardError
from modeling_audio_branch.hub.folder_card import (
    FILLED_IN,
    MARKER,
    Card,
    Section,
    mark_as_generated,
    merge,
    read_card,
    split_card,
)

TITLES = ("Use with Transformers", "Results", "Training data", "Licences", "Limits", "Versions")
GENERATED = Card({"license": "mit"}, "# tiny\n\nAn encoder.", [Section(each, f"## {each}\n\nours") for each in TITLES])
LINES = st.sampled_from(
    ["words", "", "```", "~~~", "# comment", "## x", "    code", "| a | b |", "### part", "Ünï", "---"]
)
HEADINGS = st.sampled_from([*TITLES, "Evaluation", "How it was made", "Limitations", "Use", "data"])
SECTIONS = st.lists(st.builds(Section, HEADINGS, st.just("")), max_size=5, unique_by=lambda section: section.title)


def own_card(sections, body):
    return Card({}, "# Mine\n\nMy words.", [Section(each.title, f"## {each.title}\n\n{body}") for each in sections])


def titles(card):
    return [section.title for section in card.sections]


@given(st.lists(LINES))
def test_a_text_is_split_without_loss(lines):
    text = "\n".join(lines)
    assert split_card(text).text.split() == text.split()


def test_a_comment_in_code_is_no_heading_and_the_title_is_part_of_the_intro():
    card = split_card(
        "# Title\n\nintro\n\n```python\n## no heading\n# nor this\n```\n\n## One ##\na\n# Two\nb\n### part\n"
    )
    assert card.intro.startswith("# Title") and card.intro.endswith("```") and titles(card) == ["One", "Two"]


def test_an_empty_card_becomes_the_generated_one_with_every_part_marked():
    card = merge(Card(), GENERATED, has_results=False)
    assert card == mark_as_generated(GENERATED) and MARKER in card.intro
    assert all(section.is_generated for section in card.sections) and titles(card) == list(TITLES)


@given(SECTIONS, st.booleans())
def test_own_sections_stay_as_they_are_and_in_order(sections, has_results):
    own = own_card(sections, "mine")
    card = merge(own, GENERATED, has_results)
    assert card.intro == own.intro and [each for each in card.sections if not each.is_generated] == own.sections
    missing = {each.title for each in card.sections if each.is_generated}
    assert {"Use with Transformers", "Licences"} <= missing | set(titles(own))
    if own.sections and not has_results:
        assert not missing & {"Results", "Training data"}
    for own_title, subject in {"Evaluation": "Results", "Limitations": "Limits", "data": "Training data"}.items():
        assert not (own_title in titles(own) and subject in missing)


@given(SECTIONS, st.booleans(), st.booleans())
def test_merging_again_changes_nothing(sections, has_results, has_intro):
    own = own_card(sections, "mine")
    own.intro = own.intro if has_intro else ""
    once = merge(own, GENERATED, has_results)
    assert merge(once, GENERATED, has_results) == once
    assert split_card(once.text).sections == once.sections  # also by way of the file


def test_sections_of_an_earlier_upload_are_replaced_in_their_place_and_unknown_ones_go():
    earlier = f"## Use with Transformers\n\n{MARKER}\n\nold"
    own = Card({}, "# Mine", [Section("Mine", "## Mine"), Section("Use with Transformers", earlier)])
    own.sections.append(Section("Gone", f"## Gone\n{MARKER}"))
    card = merge(own, GENERATED, has_results=True)
    assert titles(card)[:2] == ["Mine", "Use with Transformers"] and "Gone" not in titles(card)
    assert "old" not in card.text and "ours" in card.text


@pytest.mark.parametrize("has_results", [False, True])
def test_results_of_an_earlier_upload_stay_until_there_are_new_ones(has_results):
    own = mark_as_generated(Card({}, "# tiny", [Section("Results", "## Results\n\n0.71"), *GENERATED.sections[3:]]))
    card = merge(own, GENERATED, has_results)
    assert ("0.71" in card.text) != has_results


@pytest.mark.parametrize("words", FILLED_IN)
def test_a_card_that_nobody_wrote_counts_as_none_but_its_metadata_stays(words, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"---\nlanguage: de\n---\n<!-- {words} -->\n# x\n\n## Model description\n")
    assert read_card(path) == Card({"language": "de"})


def test_a_missing_card_is_empty_and_one_without_metadata_is_read(tmp_path):
    assert read_card(tmp_path / "README.md") == Card()
    (tmp_path / "README.md").write_bytes("\ufeff# Títle\r\n\r\n## One\r\n\r\na".encode())
    card = read_card(tmp_path / "README.md")
    assert card.metadata == {} and card.intro == "# Títle" and titles(card) == ["One"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"---\n{\n---\n", "metadata that is not YAML"),
        (b"---\ndate: 2026-99-99\n---\n", "metadata that is not YAML"),
        (b"---\n- a\n---\n", "not an object of named values"),
        (b"---\n1: a\n---\n", "not an object of named values"),
        (b"---\n" + b"[" * 5000 + b"\n---\n", "metadata that is not YAML"),
        ("Übung".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_card_that_cannot_be_read_is_refused_in_one_sentence(data, sentence, tmp_path):
    (tmp_path / "README.md").write_bytes(data)
    with pytest.raises(CardError, match=sentence) as error:
        read_card(tmp_path / "README.md")
    assert "\n" not in str(error.value) and "README.md" in str(error.value)

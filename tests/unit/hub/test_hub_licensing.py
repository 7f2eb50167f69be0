"""The licence of the weights: that of the folder, unless the publisher says otherwise and means it."""

from pathlib import Path

import pytest

from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.licensing import WeightsLicense, recognize, weights_license, write_licenses

ROOT = Path(__file__).parents[3]
APACHE, GPL = ((ROOT / name).read_text() for name in ("LICENSE", "tests/fixtures/hub/LICENSE.gpl-2"))


def decide(folder, license=None, given=None, text=None, answer=False):
    """(the licence, the questions that were asked)"""
    questions = []
    if text is not None:
        (folder / "LICENSE").write_text(text)

    def may_change(question):
        questions.append(question)
        return answer

    metadata = {} if license is None else {"license": license}
    return weights_license(folder, metadata, APACHE, given, may_change), questions


@pytest.mark.parametrize(
    ("license", "given", "text", "expected"),
    [
        (None, None, None, WeightsLicense("apache-2.0")),
        (None, "mit", None, WeightsLicense("mit")),
        ("gpl-2.0", None, GPL, WeightsLicense("gpl-2.0", GPL)),
        ("gpl-2.0", "gpl-2.0", GPL, WeightsLicense("gpl-2.0", GPL)),
        (["gpl-2.0"], "GPL-2.0", GPL, WeightsLicense("GPL-2.0", GPL)),
        ("gpl", None, GPL, WeightsLicense("gpl", GPL)),
        (None, None, GPL, WeightsLicense("gpl-2.0", GPL)),
        (None, None, APACHE, WeightsLicense("apache-2.0", APACHE)),
        ("gpl-2.0", None, APACHE, WeightsLicense("gpl-2.0")),  # of the code, from an earlier upload
        ("other", None, "Our own licence", WeightsLicense("other", "Our own licence")),
        (None, "other", "Our own licence", WeightsLicense("other", "Our own licence")),
        (["mit", "gpl-2.0"], "mit", None, WeightsLicense("mit")),
    ],
)
def test_the_folders_licence_is_kept_with_its_text(license, given, text, expected, tmp_path):
    assert decide(tmp_path, license, given, text) == (expected, [])


@pytest.mark.parametrize(("license", "text", "source"), [("gpl-2.0", GPL, "README.md"), (None, GPL, "LICENSE")])
def test_another_licence_is_asked_about_and_takes_the_place_of_the_text(license, text, source, tmp_path):
    chosen, questions = decide(tmp_path, license, "mit", text, answer=True)
    assert chosen == WeightsLicense("mit")
    assert questions == [
        f"--license mit was given, but {tmp_path / source} says gpl-2.0. Publish the weights under mit?"
    ]
    with pytest.raises(UploadError, match="says gpl-2.0; leave --license out to keep that, or confirm") as error:
        decide(tmp_path, license, "mit", text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("license", "text", "sentence"),
    [
        ("mit", GPL, "contradicts itself: README.md says mit, and LICENSE is gpl-2.0"),
        (["mit", "gpl-2.0"], None, "says mit and gpl-2.0; give --license one of them"),
        (None, "Our own licence", "holds a LICENSE whose name is not known; give it as --license"),
        ({"a": 1}, None, "has a license"),
        ([1], None, "has a license"),
    ],
)
def test_a_licence_that_is_not_clear_is_refused_in_one_sentence(license, text, sentence, tmp_path):
    with pytest.raises(UploadError, match=sentence) as error:
        decide(tmp_path, license, text=text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (APACHE, "apache-2.0"),
        (GPL, "gpl-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007", "lgpl-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999", "lgpl-2.1"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3", "agpl-3.0"),
        ("Copyright (c) 2026 Somebody\n\nPermission is hereby granted, free of charge, to any", "mit"),
        ("Attribution-NonCommercial-ShareAlike 4.0 International\n\n====", "cc-by-nc-sa-4.0"),
        ("CC0 1.0 Universal", "cc0-1.0"),
        ("Our own licence", None),
        ("", None),
    ],
)
def test_a_licence_text_is_recognized_by_its_title(text, name):
    assert recognize(text) == name


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        (WeightsLicense("gpl-2.0", GPL), {"LICENSE": GPL, "LICENSE-CODE": APACHE}),
        (WeightsLicense("apache-2.0"), {"LICENSE": APACHE}),
        (WeightsLicense("cc-by-4.0"), {"LICENSE-CODE": APACHE}),
    ],
)
def test_the_codes_licence_has_a_file_of_its_own_where_the_weights_have_another(license, expected, tmp_path):
    write_licenses(tmp_path, license, APACHE)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert expected.items() <= written.items() and written.keys() == {"LICENSE", *expected}
    if license.name == "cc-by-4.0":  # its text is not known
        assert "under the licence cc-by-4.0" in written["LICENSE"] and "LICENSE-CODE" in written["LICENSE"]

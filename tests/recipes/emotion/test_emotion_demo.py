"""recipes/emotion/demo.py: the labels and speakers of the recordings of Kajongg."""

import csv
from pathlib import Path

from recipes.emotion import demo


def test_the_table_names_each_phrase_and_its_speaker(tmp_path, monkeypatch):
    root = Path("kajongg")
    phrases = {"default": [[root / "female1" / "b7.ogg"]], "de": [[root / "de" / "male2" / "kong.ogg"]]}
    monkeypatch.setattr(demo, "kajongg_phrases", lambda: phrases)
    demo.write_table(tmp_path / "kajongg.csv")
    with open(tmp_path / "kajongg.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["speaker"]) for row in rows] == [("bamboo 7", "default female1"), ("kong", "de male2")]
    assert rows[0]["path"] == str(root / "female1" / "b7.ogg")

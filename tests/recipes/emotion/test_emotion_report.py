"""The report of the emotion recipe: readable for few and for many classes, and true to the predictions."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from modeling_audio_branch.hub.results import read_results
from recipes.emotion.report import Evaluation, to_markdown, to_results, to_table, write_report
from recipes.emotion.settings import TrainingSettings


def evaluate(num_labels, speakers=True):
    generator = np.random.default_rng(0)
    targets = np.repeat(np.arange(num_labels), 8)
    predictions = np.where(
        generator.random(len(targets)) < 0.6, targets, generator.integers(0, num_labels, len(targets))
    )
    return Evaluation(
        protocol="a protocol",
        folds=[1],
        seed=0,
        settings=TrainingSettings(checkpoint="checkpoints/phrases"),
        labels=[f"label {i}" for i in range(num_labels)],
        targets=targets.tolist(),
        predictions=predictions,
        speakers=[f"speaker {i % 4}" if speakers else None for i in range(len(targets))],
    )


@pytest.mark.parametrize("speakers", [True, False])
@pytest.mark.parametrize("num_labels", [3, 12, 13, 42])
def test_the_report_shows_all_cells_of_few_classes_and_the_commonest_confusions_of_many(num_labels, speakers, tmp_path):
    evaluation = evaluate(num_labels, speakers)
    results = write_report(tmp_path / "new", "a data set", "cc0-1.0", evaluation)
    text = (tmp_path / "new" / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| label")]
    confusion = np.array(results["confusion"])
    if num_labels <= 12:
        assert len(rows) == num_labels
        for row, counts in zip(rows, confusion, strict=True):
            cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
            assert cells == [str(count) if count else "" for count in counts]
    else:
        assert len(rows) == 10 and "The commonest confusions" in text and len(text) < 2500
    pictures = {"confusion.png", "classes.png"} | ({"speakers.png"} if speakers else set())
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"results.json", "report.md"} | pictures
    assert all(f"({name})" in text for name in pictures)
    for name, numbers in results["accuracy_by_class"].items():
        row = confusion[evaluation.labels.index(name)]
        assert numbers["low"] <= numbers["value"] == row[evaluation.labels.index(name)] / row.sum() <= numbers["high"]
    assert json.loads((tmp_path / "new" / "results.json").read_text()) == results
    assert read_results(tmp_path / "new" / "results.json").metrics["weighted_accuracy"].value == pytest.approx(
        np.mean(evaluation.predictions == evaluation.targets)
    )


FEW, MANY = (to_results("a data set", "cc0-1.0", evaluate(size)) for size in (3, 15))


@given(st.data(), st.sampled_from([FEW, MANY]))
def test_any_label_is_one_cell_of_a_table(data, results):
    num_labels = len(results["labels"])
    names = st.text(st.characters(), max_size=8)  # also halves of surrogate pairs, as in file names that are not UTF-8
    labels = data.draw(st.lists(names, min_size=num_labels, max_size=num_labels, unique=True))
    text = to_markdown(results | {"labels": labels})
    assert text.encode("utf-8")
    tables = [table for table in text.split("\n\n") if table.startswith("|")]
    assert len(tables) == 2
    rows = tables[1].split("\n")
    assert len(rows) == 2 + min(num_labels, 10)
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_names_that_are_not_utf_8_are_written_and_drawn(tmp_path):
    evaluation = evaluate(3)
    evaluation.labels = ["good", "b\udcffd", "$\\foo$ | x"]
    evaluation.speakers = [f"s\udcf0{i % 4}" for i in range(len(evaluation.targets))]
    results = write_report(tmp_path, "a \udcff folder", "cc0-1.0", evaluation)
    assert r"| b\\udcffd |" in (tmp_path / "report.md").read_text(encoding="utf-8")
    rendered = "".join(segment.text for segment in Console(width=100).render(to_table(results)))
    assert rendered.encode("utf-8")


def test_the_report_explains_its_intervals_and_counts_the_mistakes():
    evaluation = evaluate(20)
    results = to_results("a data set", "cc0-1.0", evaluation)
    text = to_markdown(results)
    assert f"of {np.sum(evaluation.predictions != evaluation.targets)} mistakes" in text
    assert "95 % Wilson intervals, which take clips as independent" in text
    assert "UA is the mean of the classes' accuracies" in text


@pytest.mark.parametrize("speakers", [30, 31])
def test_the_terminal_shows_few_speakers_by_name_and_many_as_a_summary(speakers):
    evaluation = evaluate(20)
    evaluation.speakers = [f"speaker {i % speakers}" for i in range(len(evaluation.targets))]
    table = to_table(to_results("a data set", "cc0-1.0", evaluation))
    text = "".join(segment.text for segment in Console(width=100).render(table))
    assert text.count("accuracy of speaker") == (speakers if speakers == 30 else 0)
    assert ("Accuracy of 31 speakers" in text) == (speakers == 31)

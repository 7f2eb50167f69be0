"""The report of the emotion recipe: readable for few and for many classes, and true to the predictions."""

import json

import numpy as np
import pytest

from modeling_audio_branch.hub.results import read_results
from recipes.emotion.report import Evaluation, write_report
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

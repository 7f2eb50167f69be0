"""The course of a training as a table and as a picture."""

import json

import pytest
import typer

from recipes.phrases import training_log


def write_state(folder, steps):
    """A training that was measured every 10 steps, and whose loss is written every 5 steps."""
    entries = []
    for step in range(5, steps + 1, 5):
        entries.append({"step": step, "loss": 100 - step, "learning_rate": 1e-3})
        if step % 10 == 0:
            entries.append({"step": step, "development": {"Kajongg": step / 10, "gcin": 1.0}})
    folder = folder / "training" / f"checkpoint-{steps}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": entries}))


def test_the_table_has_the_mean_loss_between_measurements_and_the_last_one(tmp_path, capsys):
    write_state(tmp_path, 40)
    training_log.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| step | loss | learning rate | Kajongg | gcin |"
    assert lines[2] == "| 10 | 92.50 | 1.0e-03 | 1.0 | 1.0 |" and lines[-1] == "| 40 | 62.50 | 1.0e-03 | 4.0 | 1.0 |"
    assert len(lines) == 6 and (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_long_training_has_at_most_25_rows(tmp_path):
    write_state(tmp_path, 770)
    rows = training_log.training_table(training_log.read_training(tmp_path)).splitlines()[2:]
    steps = [int(row.split("|")[1]) for row in rows]
    assert len(steps) == 20 and steps[-1] == 770 and {b - a for a, b in zip(steps, steps[1:], strict=False)} == {40}


def test_the_curves_show_loss_and_recall_of_all_steps(tmp_path):
    write_state(tmp_path, 40)
    loss, recall = training_log.draw_training(training_log.read_training(tmp_path)).axes
    assert loss.lines[0].get_xydata().tolist() == [[10, 92.5], [20, 82.5], [30, 72.5], [40, 62.5]]
    assert [line.get_label() for line in recall.lines] == ["Kajongg", "gcin"]
    assert recall.lines[0].get_ydata().tolist() == [1, 2, 3, 4]


def test_a_folder_without_a_measurement_is_a_sentence(tmp_path, capsys):
    with pytest.raises(typer.Exit):
        training_log.main(tmp_path)
    assert "holds no measurement on the development sets; train for longer." in capsys.readouterr().err

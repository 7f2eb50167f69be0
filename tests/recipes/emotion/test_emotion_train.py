"""recipes/emotion/train.py: short runs on a folder in the layout of RAVDESS."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from helpers.fresh_process import run_fresh
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.hub.checkpoint import check_checkpoint
from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.results import read_results
from recipes.emotion import cross_validation, train
from recipes.emotion.data import RAVDESS_EMOTIONS

ROOT = Path(__file__).parents[3]
app = typer.Typer()
app.command()(train.main)


def run_in_new_process(*arguments, cwd) -> str:
    """Runs the recipe; returns its standard error, and fails with it if the recipe does."""
    done = subprocess.run(
        [sys.executable, "-m", "recipes.emotion.train", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def run(*arguments) -> str:
    """Runs the recipe in this process, which takes a few seconds less; returns its standard error."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr[-3000:]
    return result.stderr


def error_of(*arguments) -> str:
    """The error with which the recipe ends, which is not an exception."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 1 and "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    "options", [("--steps", 60, "--learning-rate", 3e-3, "--no-augment", "--layer-decay", 1), ("--steps", 4, "--lora")]
)
def test_the_recipe_trains_reports_and_leaves_a_checkpoint_that_loads_anywhere(options, ravdess, checkpoint, tmp_path):
    data = shutil.copytree(ravdess, tmp_path / "data")
    (data / "Actor_01" / "03-01-01-01-02-01-01.wav").write_bytes(b"no audio")
    arguments = ("ravdess", data, "--checkpoint", checkpoint, "--output", tmp_path / "out", "--fold", 2)
    arguments += ("--batch-size", 32, "--freeze-epochs", 0, *options)
    stderr = run(*arguments) if "--lora" in options else run_in_new_process(*arguments, cwd=tmp_path)
    assert "03-01-01-01-02-01-01.wav can't be read" in stderr
    assert read_results(tmp_path / "out" / "results.json")  # it may be shown on a card
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["clips"] == 32 and set(results["accuracy_by_speaker"]) == {"04", "10", "12", "14"}
    assert np.sum(results["confusion"]) == 32 and results["labels"] == sorted(RAVDESS_EMOTIONS.values())
    assert check_checkpoint(tmp_path / "out" / "fold-2") == ["training"]  # and may be published
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 5000
    assert "unweighted_accuracy" in results["metrics"] and "UA" in (tmp_path / "out" / "report.md").read_text()
    if "--lora" in options:
        before, after = (load_file(f / "model.safetensors") for f in (checkpoint, tmp_path / "out" / "fold-2"))
        moved = {name for name, value in before.items() if not torch.equal(value, after[f"audio_branch.{name}"])}
        assert moved and all("qkv_proj" in n or "o_proj" in n for n in moved if n.startswith("encoder."))
        assert any(name.startswith("encoder.") for name in moved)
    else:
        states = sorted((tmp_path / "out" / "fold-2" / "training").glob("checkpoint-*/trainer_state.json"))
        history = json.loads(states[-1].read_text())["log_history"]
        losses = [entry["loss"] for entry in history if "loss" in entry]
        assert losses[-1] < losses[0]
        assert results["metrics"]["unweighted_accuracy"]["value"] > 0.3  # chance is 0.125
    run_fresh(
        f"""
        import torch
        from transformers import AutoModelForAudioClassification, pipeline
        folder = {str(tmp_path / "out" / "fold-2")!r}
        model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
        assert model.config.id2label[0] == "angry" and model(torch.randn(1, 8000)).logits.shape == (1, 8)
        classify = pipeline("audio-classification", model=folder, trust_remote_code=True)
        assert classify({str(ravdess / "Actor_02" / "03-01-01-01-01-01-02.wav")!r})[0]["label"] in model.config.label2id
        """,
        tmp_path,
    )


def test_bad_arguments_are_one_sentence(ravdess, checkpoint, tmp_path):
    for arguments, sentence in (
        (("ravdess", tmp_path), "Actor_01 is missing"),
        (("wav", tmp_path), "'wav' is not a supported kind of data"),
        (("ravdess", ravdess, "--checkpoint", tmp_path / "nowhere"), "nowhere can't be loaded"),
    ):
        output = ("--output", tmp_path / "out")
        assert sentence in error_of(*arguments[:2], "--checkpoint", checkpoint, *arguments[2:], *output)


def test_a_continued_run_equals_an_uninterrupted_one(ravdess, checkpoint, tmp_path):
    start = shutil.copytree(checkpoint, tmp_path / "start")
    arguments = ("ravdess", ravdess, "--checkpoint", start, "--fold", 1, "--steps", 10, "--batch-size", 32)
    arguments += ("--output", tmp_path / "out")
    run(*arguments)
    training = tmp_path / "out" / "fold-1" / "training"
    uninterrupted = load_file(training / "checkpoint-10" / "model.safetensors")
    shutil.rmtree(training / "checkpoint-10")  # as if it had been killed after the first epoch
    (training / "checkpoint-10").mkdir()  # while it was saving the second
    assert {path.name for path in training.glob("checkpoint-*/*.safetensors")} == {"model.safetensors"}
    run_in_new_process(*arguments, cwd=tmp_path)
    continued = load_file(training / "checkpoint-10" / "model.safetensors")
    assert all(torch.equal(continued[name], value) for name, value in uninterrupted.items())
    assert "holds a run with other seed" in error_of(*arguments, "--seed", 1)
    torch.manual_seed(1)  # not the seed of the fixture: other weights
    AudioBranchModel(AudioBranchModel.from_pretrained(start).config).save_pretrained(start)
    assert "holds a run with other weights" in error_of(*arguments)


def test_push_publishes_the_first_fold_with_its_results_and_reports_a_failure_in_a_sentence(
    ravdess, checkpoint, tmp_path, monkeypatch, capsys
):
    sent = []

    def train_fold(splits, labels, seed, settings, output):
        return np.array([labels.index(recording.label) for recording in splits.test])

    def push_checkpoint(folder, repo_id, metrics, license):
        sent.append((folder, repo_id, read_results(metrics).metrics["weighted_accuracy"].value, license))
        if len(sent) > 1:
            raise UploadError("Nothing was sent: answer y on a terminal, or give --yes.")

    monkeypatch.setattr(cross_validation, "train_fold", train_fold)
    monkeypatch.setattr(train, "push_checkpoint", push_checkpoint)
    arguments = {"fold": 2, "output": tmp_path, "push": "anna/emotion"}
    with pytest.raises(typer.Exit):
        train.main("ravdess", str(ravdess), str(checkpoint), **arguments)
    assert "--push needs --license" in capsys.readouterr().err and not sent
    arguments["license"] = "cc-by-nc-sa-4.0"
    train.main("ravdess", str(ravdess), str(checkpoint), **arguments)
    assert sent == [(tmp_path / "fold-2", "anna/emotion", 1.0, "cc-by-nc-sa-4.0")]
    with pytest.raises(typer.Exit):
        train.main("ravdess", str(ravdess), str(checkpoint), **arguments)
    assert "Error: Nothing was sent" in capsys.readouterr().err
    assert read_results(tmp_path / "results.json")  # nothing of the training is lost

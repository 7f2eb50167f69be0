"""recipes/audio_visual/data.py, fold.py and train.py: short runs on videos in the layout of RAVDESS."""

import json
import shutil

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from helpers.fresh_process import run_fresh
from recipes.audio_visual import train
from recipes.audio_visual.data import drop_unusable, load_ravdess_videos
from recipes.audio_visual.fold import load_sides
from recipes.audio_visual.settings import TrainingSettings
from recipes.audio_visual.write_video import write_video
from recipes.emotion.data import RAVDESS_EMOTIONS
from recipes.emotion.recordings import DataError
from recipes.emotion.splits import EMOBOX_FOLDS, emobox_split

app = typer.Typer()
app.command()(train.main)


def run(*arguments, exit_code=0) -> str:
    """Runs the command; returns its standard error."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == exit_code and "Traceback" not in result.stderr, result.stderr[-3000:]
    return result.stderr


def arguments_of(data, sides, output):
    audio, video = sides
    arguments = (data, "--audio", audio, "--video", video, "--output", output, "--fold", 2, "--fusion-dim", 16)
    return (*arguments, "--batch-size", 64, "--accumulate", 1, "--frames-per-segment", 1, "--no-freeze-video")


def test_the_loader_takes_speech_with_picture_and_sound_only(ravdess_videos, tmp_path):
    data = shutil.copytree(ravdess_videos, tmp_path / "data")
    first = data / "Actor_01" / "01-01-01-01-01-01-01.mp4"
    for name in ("02-01-01-01-01-01-01.mp4", "01-02-01-01-01-01-01.mp4"):  # a video without sound, and a song
        shutil.copy(first, data / "Actor_01" / name)
    (data / "Actor_01" / "03-01-01-01-01-01-01.wav").write_bytes(b"")
    recordings = load_ravdess_videos(data)
    assert len(recordings) == 24 * 8 and {each.label for each in recordings} == set(RAVDESS_EMOTIONS.values())
    assert {each.speaker for each in recordings} == {f"{actor:02d}" for actor in range(1, 25)}
    for fold, actors in EMOBOX_FOLDS.items():
        splits = emobox_split(recordings, fold)
        speakers = [{each.speaker for each in split} for split in vars(splits).values()]
        assert speakers[2] == {f"{actor:02d}" for actor in actors} and sum(map(len, speakers)) == 24


def test_a_wrong_layout_is_one_sentence(ravdess_videos, tmp_path):
    with pytest.raises(DataError, match="Actor_01 is missing; RAVDESS has a folder"):
        load_ravdess_videos(tmp_path)
    data = shutil.copytree(ravdess_videos, tmp_path / "data")
    video = data / "Actor_01" / "01-01-01-01-01-01-01.mp4"
    for name, sentence in (("holiday.mp4", "has no file name of RAVDESS"), ("01-01-01-01-01-01-09.mp4", "of actor 09")):
        shutil.copy(video, data / "Actor_01" / name)
        with pytest.raises(DataError, match=sentence):
            load_ravdess_videos(data)
        (data / "Actor_01" / name).unlink()
    for path in (data / "Actor_02").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="Actor_02 contains no speech with picture and sound"):
        load_ravdess_videos(data)


def test_videos_that_cannot_be_read_or_lack_a_side_are_left_out(ravdess_videos, tmp_path):
    data = shutil.copytree(ravdess_videos, tmp_path / "data")
    (data / "Actor_01" / "01-01-01-01-01-01-01.mp4").write_bytes(b"no video")
    silent = data / "Actor_01" / "01-01-02-01-01-01-01.mp4"
    write_video(silent, np.zeros((3, 16, 16, 3), np.uint8), 25, None, 16000)
    usable, left_out = drop_unusable(load_ravdess_videos(data))
    assert len(usable) == 24 * 8 - 2
    assert [reason.split(":")[0] for _, reason in left_out] == ["can't be read", "has no audio"]


def test_the_command_trains_reports_each_side_and_leaves_a_model_that_loads_anywhere(ravdess_videos, sides, tmp_path):
    run(*arguments_of(ravdess_videos, sides, tmp_path / "out"), "--steps", 18, "--learning-rate", 1e-2)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["clips"] == 32 and set(results["accuracy_by_speaker"]) == {"04", "10", "12", "14"}
    assert results["metrics"]["unweighted_accuracy"]["value"] > 0.2  # chance is 0.125
    assert "UA" in (tmp_path / "out" / "report.md").read_text()
    rows = (tmp_path / "out" / "sides.md").read_text().splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| both", "| audio", "| video"]
    run_fresh(
        f"""
        import sys
        sys.modules["recipes"] = None
        from transformers import AutoModelForVideoClassification, AutoProcessor
        folder = {str(tmp_path / "out" / "fold-2")!r}
        model = AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True)
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        logits = model(**processor({str(ravdess_videos / "Actor_01" / "01-01-01-01-01-01-01.mp4")!r})).logits
        assert logits.shape == (1, 8) and model.config.id2label[0] == "angry"
        """,
        tmp_path,
    )


def test_a_continued_run_equals_an_uninterrupted_one(ravdess_videos, sides, tmp_path):
    arguments = (*arguments_of(ravdess_videos, sides, tmp_path / "out"), "--steps", 6)
    run(*arguments)
    training = tmp_path / "out" / "fold-2" / "training"
    last = sorted(training.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))[-1]
    whole = load_file(last / "model.safetensors")
    shutil.rmtree(last)
    run(*arguments)
    parts = load_file(last / "model.safetensors")
    assert whole.keys() == parts.keys() and all(torch.equal(parts[name], value) for name, value in whole.items())
    assert "holds a run with other settings" in run(*arguments, "--learning-rate", 1e-3, exit_code=1)


def test_both_sides_start_from_their_checkpoints_and_pixels_from_the_settings_of_the_encoder(sides):
    audio, video = map(str, sides)
    model, processor = load_sides(["a", "b"], TrainingSettings(audio, video, fusion="gated", fusion_dim=16))
    assert model.config.id2label == {0: "a", 1: "b"} and model.frozen_sides == {"video"}
    assert processor.image_mean == [0.4] * 3 and processor.image_size == [8, 8]
    with pytest.raises(DataError, match="can't be loaded as two sides"):
        load_sides(["a", "b"], TrainingSettings(audio, audio + "/nowhere"))


def test_bad_arguments_are_one_sentence(ravdess_videos, sides, tmp_path):
    arguments = arguments_of(ravdess_videos, sides, tmp_path / "out")
    assert "--fusion sum was given; give concat" in run(*arguments, "--fusion", "sum", exit_code=1)
    assert "--fold 9 was given" in run(*arguments, "--fold", 9, exit_code=1)
    assert "Actor_01 is missing" in run(tmp_path, *arguments[1:], exit_code=1)

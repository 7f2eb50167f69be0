"""`audio-branch check-batching`: a table or JSON, a verdict, and an exit code."""

import json

import pytest
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
from typer.testing import CliRunner

from helpers.encoders import CONVOLUTIONS, SIZES
from helpers.models import make_model
from helpers.recordings import write_recordings
from modeling_audio_branch.cli import app


@pytest.fixture
def model(tmp_path):
    made = make_model(Wav2Vec2Model, Wav2Vec2Config(**SIZES, **CONVOLUTIONS))
    made.save_pretrained(tmp_path / "model")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def run(*arguments):
    return CliRunner().invoke(app, ["check-batching", *arguments])


def test_it_exits_with_1_if_the_numbers_depend_on_the_batch(model):
    done = run(model)
    assert done.exit_code == 1 and "Called by transformers, a clip's embedding depends on its batch" in done.output
    done = run(model, "--tolerance", "10")
    assert done.exit_code == 0 and "does not depend" in done.output


def test_recordings_of_ones_own_are_measured_and_printed_as_json(model, tmp_path):
    files = write_recordings(tmp_path / "audio", count=2)
    done = run(model, "--json", "--audio", files[0], "--audio", files[1])
    gaps = json.loads(done.stdout)
    assert [gap["seconds"] for gap in gaps] == [2.0, 2.01]
    assert all(gap["difference"] > 0 for gap in gaps[:1])


def test_what_can_not_be_checked_is_one_sentence(model, tmp_path):
    done = run(str(tmp_path / "nothing"))
    assert done.exit_code == 1 and "cannot be loaded" in done.stderr and done.stderr.count("\n") == 1
    done = run(model, "--tolerance", "nan")
    assert done.exit_code == 1 and "give a finite number of at least 0" in done.stderr
    done = run(model, "--audio", str(tmp_path / "one.wav"))
    assert done.exit_code == 1 and "makes no batch" in done.stderr

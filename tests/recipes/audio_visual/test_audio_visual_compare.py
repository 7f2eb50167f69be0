"""recipes/audio_visual/compare.py, demo.py and measure.py: the commands, on a set of a few clips."""

import json
from pathlib import Path

import pytest
import typer

from recipes.audio_visual import compare, demo, generated_training, measure
from recipes.audio_visual.generated import LABELS, make_clips, read_speech
from recipes.audio_visual.generated_training import Job, small_config, to_rows
from recipes.audio_visual.model import AudioVisualForClassification, AudioVisualProcessor

AUDIO = Path(__file__).parents[3] / "examples" / "audio"


@pytest.fixture(scope="module")
def speech():
    return read_speech(sorted(AUDIO.glob("*.flac")))


@pytest.fixture
def few_clips(speech, monkeypatch):
    """The generated set with 8 clips of shipped recordings, in place of packages that must be downloaded."""

    def rows(task):
        clips = make_clips(speech, 8, seed=0, task=task)
        return (to_rows(clips, small_config("concat", task)),) * 2

    for module in (compare, demo, generated_training):
        monkeypatch.setattr(module, "generated_rows", rows)
    monkeypatch.setattr(demo, "speech_of", lambda package: speech)


class SameProcess:
    """In place of a pool of processes."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, function, *arguments):
        class Done:
            result = staticmethod(lambda: function(*arguments))

        return Done()


def test_the_comparison_writes_a_table_of_every_fusion_and_continues(few_clips, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(compare, "ProcessPoolExecutor", SameProcess)
    arguments = {"output": tmp_path, "seeds": 1, "processes": 1, "steps": 1}
    compare.main(**arguments)
    report = (tmp_path / "report.md").read_text()
    for name in ("audio alone", "video alone", *(f"both, `{name}`" for name in compare.FUSIONS)):
        assert report.count(f"| {name} |") == 1
    assert report.count("modality dropout") == 1 and report in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["accuracies"]) == len(compare.jobs_of(1)) == 14
    monkeypatch.setattr(compare, "run_job", lambda *_: pytest.fail("it was done already"))
    compare.main(**arguments)
    with pytest.raises(typer.BadParameter, match="holds other results"):
        compare.main(**(arguments | {"steps": 2}))


def test_accuracies_are_of_the_label_and_of_each_half_of_it():
    labels, predictions = [0, 1, 2, 3], {"both": [0, 0, 2, 1], "audio": [0, 1, 2, 0]}
    found = compare.accuracies(predictions, labels, "both")
    assert found == {"both": 0.5, "audio": 0.75, "timing": 0.75, "fit": 0.75}
    assert compare.accuracies({"video": [0, 1]}, [0, 0], "either") == {"video": 0.5}


def test_the_interval_is_that_of_students_t():
    mean, low, high = compare.interval_of_mean([0.5, 0.6, 0.7])
    assert mean == pytest.approx(0.6) and low == pytest.approx(0.6 - 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert high == pytest.approx(1.2 - low) and compare.interval_of_mean([1.0]) == (1.0, 1.0, 1.0)
    assert compare.interval_of_mean([0.9, 1.0])[2] == 1.0


def test_no_two_trainings_have_one_name():
    names = [job.name for job in compare.jobs_of(5)]
    assert len(set(names)) == len(names) == 70 and Job("gated", 3).name == "both-gated-both-0.0-3"


def test_the_demonstration_leaves_a_model_and_a_video_of_each_label(few_clips, tmp_path, capsys):
    demo.main(fusion="liquid", output=tmp_path, steps=1)
    assert "of the test clips are right" in capsys.readouterr().out
    videos = sorted(tmp_path.glob("*.mp4"))
    assert [path.stem for path in videos] == sorted(name.replace(", ", "_") for name in LABELS["both"])
    batch = AudioVisualProcessor.from_pretrained(tmp_path)(videos)
    logits = AudioVisualForClassification.from_pretrained(tmp_path).eval()(**batch).logits
    assert logits.shape == (4, 4) and logits.isfinite().all()
    with pytest.raises(typer.BadParameter, match="--fusion sum was given; give concat, gated"):
        demo.main(fusion="sum", output=tmp_path)


def test_the_measures_are_positive(monkeypatch):
    monkeypatch.setattr(measure, "REPEATS", 1)
    rows = measure.fusion_rows()
    assert [row[0] for row in rows] == list(compare.FUSIONS) and all(min(row[1:]) > 0 for row in rows)
    assert rows[0][1] == 2 * 128 * 128 + 128

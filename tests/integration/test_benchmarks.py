"""The benchmarks run: the one for GPUs on a CPU, with one layer; the one of searching on noise."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import soundfile
from transformers import WhisperConfig, WhisperModel

from benchmarks import compatibility, gpu, million_hours, phrase_search, search_methods
from benchmarks.haystacks import Phrase, Query, Tape
from benchmarks.search_methods import Found
from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.corpus import FeatureFormat

ROOT = Path(__file__).parents[2]
SMALL_FORMS = FeatureFormat("float16"), FeatureFormat("int8")


def test_the_gpu_benchmark_runs_on_a_cpu_and_writes_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PRECISIONS", ["float32", "bfloat16" + gpu.AUTOCAST])  # a CPU is slow in the others
    output = tmp_path / "gpu.json"
    gpu.main(["parakeet"], device="cpu", layers=1, repeats=1, compiled=False, only="1 clip of 1 s", output=output)
    rows = json.loads(output.read_text())["results"]
    assert {(row["model"], row["precision"]) for row in rows} == {
        (model, precision) for model in ("large", "lightweight") for precision in gpu.PRECISIONS
    }
    assert {row["peer"] for row in rows} == {"parakeet", None}
    for row in rows:
        assert row["milliseconds"] > 0 and row["peak_megabytes"] is None
        assert row["difference"] <= (0 if row["precision"] == "float32" else 0.05)
        assert row["exactness"] is None or row["exactness"] <= (1e-5 if row["precision"] == "float32" else 0.02)
    (training,) = json.loads((tmp_path / "gpu_training.json").read_text())["results"]
    assert training["speed"]["ratio"] > 0


def test_a_missing_gpu_is_said_in_a_sentence():
    with pytest.raises(SystemExit, match="give --device cpu to try the program"):
        gpu.main(["parakeet"], device="cuda:9", output=None)


def test_the_search_benchmark_measures_every_method_on_hours_of_noise(tmp_path, monkeypatch):
    """Tapes of 20 s on which three pieces of speech are laid; little is said of how well they are found."""
    speech = load_audio(ROOT / "examples" / "phrases" / "carlo_voicemail.ogg", 8000).numpy()
    clips = [speech[8000 * start :][:length] for start, length in ((1, 8000), (21, 9600), (38, 12000))]
    tapes = []
    monkeypatch.setattr(phrase_search, "SPEAKER_PAIRS", {"it": phrase_search.SPEAKER_PAIRS["it"]})
    monkeypatch.setattr(search_methods.CutWindows, "lengths", (1.0, 1.2, 1.5))
    for language, speakers in phrase_search.SPEAKER_PAIRS.items():
        for speaker in speakers:
            samples = 0.05 * random_clips([160000], seed=len(tapes))[0].numpy()
            phrases = []
            for number, clip in enumerate(clips):
                start = 8000 * (2 + 5 * number)
                samples[start : start + len(clip)] += clip
                phrases.append(Phrase(str(number), start / 8000, (start + len(clip)) / 8000))
            path = tmp_path / f"{speaker}.wav"
            soundfile.write(path, samples, 8000)
            tapes.append(Tape(path, language, speaker, "noise", phrases))

    def queries(language, count):
        pair = phrase_search.SPEAKER_PAIRS[language]
        return [Query(str(number), language, pair[0], pair[1], clip) for number, clip in enumerate(clips)]

    monkeypatch.setattr(phrase_search, "load_tapes", lambda: tapes)
    monkeypatch.setattr(phrase_search, "load_queries", queries)
    tiny = {"layers": 1, "attention_heads": 2, "ffn_dim": 32}
    sizes = {f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in tiny.items()}
    WhisperModel(WhisperConfig(d_model=32, **sizes)).save_pretrained(tmp_path / "w")
    checkpoint = ROOT / "checkpoints" / "phrases"
    phrase_search.main(str(checkpoint), [f"{tmp_path / 'w'}:-1"], windows=True, output=tmp_path / "results.json")
    methods = json.loads((tmp_path / "results.json").read_text())["methods"]
    assert len(methods) == 6
    for name, rows in methods.items():
        for row in rows["languages"].values():
            assert row["queries"] == 3 and 0 <= row["MAP"] <= 1 and row["seconds a query"] > 0
            if name == "AudioIndex":  # the same samples
                assert row["P@1"] == 1 and row["start"] < 0.3, name


def test_the_measures_of_searching_are_those_of_their_definitions():
    tapes = [Tape("a", "it", "x", "clean", [Phrase("p", 1, 2), Phrase("q", 3, 4), Phrase("p", 5, 6)])]
    query = Query("p", "it", "y", "x", None)
    hits = [Found("a", 4.9, 6, 0.9), Found("a", 3, 4, 0.8), Found("a", 1.2, 2, 0.7), Found("a", 1, 1.8, 0.6)]
    right, errors, count = phrase_search.judge(hits, query, tapes)
    assert right == [True, False, True, False] and count == 2  # the second hit of one place is wrong
    assert errors[0] == pytest.approx(0.1) and errors[2] == pytest.approx(0.2)
    assert phrase_search.average_precision(right, count) == pytest.approx((1 + 2 / 3) / 2)
    value = phrase_search.maximum_term_weighted_value([(hits, right, count)], 10_000)
    assert value == pytest.approx(1 - 999.9 / 9998)  # with one false alarm, both are found
    assert phrase_search.calibration_error([0.9, 0.9, 0.1], [True, True, False]) == pytest.approx(0.1)


def test_the_table_of_compatibility_says_what_passed_and_replaces_the_old_one():
    rows = compatibility.table({("pytest",): {"test_a_clip_is_embedded": True, "test_it_fails": False}})
    assert f"| pytest {version('pytest')} | a clip is embedded | passes |" in rows
    assert "| it fails | **fails** |" in rows
    page = compatibility.with_table(f"Title\n{compatibility.BEGIN}old\n{compatibility.END}Rest\n", rows)
    assert page == f"Title\n{compatibility.BEGIN}{rows}{compatibility.END}Rest\n"


def test_the_page_of_other_tools_names_each_test_of_them():
    page = compatibility.PAGE.read_text(encoding="utf-8")
    for path in compatibility.TOOLS.values():
        for name in re.findall(
            r"^def test_(\w+)", (compatibility.ROOT / path).read_text(encoding="utf-8"), re.MULTILINE
        ):
            assert name.replace("_", " ") in page, "run python -m benchmarks.compatibility"


def test_stored_bytes_are_counted_from_real_files(tmp_path):
    model = make_model(AudioBranchModel, tiny_config())
    stored = {form.dtype: million_hours.stored_bytes_per_row(model, form, tmp_path, 64) for form in SMALL_FORMS}
    assert stored["float16"] > stored["int8"] > 4 * 12  # S * feature_dim
    assert 100 < million_hours.plan_bytes_per_row(tmp_path, 20_000) < 10_000

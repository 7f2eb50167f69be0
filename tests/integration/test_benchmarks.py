"""The benchmarks run: the one for GPUs on a CPU, with one layer."""

import json

import pytest

from benchmarks import gpu


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

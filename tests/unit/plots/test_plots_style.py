"""The shared style, saving, and the optional dependency."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from helpers.full_disk import full_disk
from modeling_audio_branch.plots import save_figure, styled
from modeling_audio_branch.plots.style import INK


@styled
def a_figure(label="Seconds"):
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_xlabel(label)
    return figure


def test_a_figure_keeps_the_style_and_matplotlib_its_settings():
    before = dict(matplotlib.rcParams)
    figure = a_figure()
    assert dict(matplotlib.rcParams) == before
    axes = figure.axes[0]
    texts = [axes.xaxis.label, *axes.get_xticklabels()]
    assert {to_hex(text.get_color()) for text in texts} == {INK}
    assert not axes.spines["top"].get_visible()


def test_a_figure_is_saved_in_the_format_of_its_suffix_and_folders_are_made(tmp_path):
    for name, start in (("a.png", b"\x89PNG"), ("b.pdf", b"%PDF"), ("without_suffix", b"\x89PNG")):
        path = tmp_path / "new" / name
        save_figure(a_figure(), path)
        assert path.read_bytes().startswith(start)


def test_names_with_dollars_are_not_read_as_formulas(tmp_path):
    save_figure(a_figure(r"$\foo$.wav"), tmp_path / "a.png")


def test_a_suffix_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'wav' is not supported"):
        save_figure(a_figure(), tmp_path / "a.wav")


def test_only_plots_need_matplotlib_and_say_how_to_install_it():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import modeling_audio_branch\n"
        "from modeling_audio_branch.cli import app\n"
        "from typer.testing import CliRunner\n"
        "done = CliRunner().invoke(app, ['plot', 'examples/audio/go_somewhere.flac'])\n"
        "print(done.exit_code, done.stderr.strip())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1 Plots need matplotlib; install it with: pip install 'audio-branch[demo]'"


def test_a_full_disk_leaves_the_earlier_picture_and_nothing_else(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"earlier")
    with pytest.raises(OSError, match="a.png cannot be written .File too large.; free some space"), full_disk(100):
        save_figure(a_figure(), path)
    assert path.read_bytes() == b"earlier" and [each.name for each in tmp_path.iterdir()] == ["a.png"]

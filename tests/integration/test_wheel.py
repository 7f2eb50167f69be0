"""The wheel, installed into an environment of its own: what it holds, its commands, and the README's code."""

import importlib.metadata
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from helpers.nemo_archives import NEMO

ROOT = Path(__file__).parents[2]
CHECKPOINT, AUDIO = ROOT / "checkpoints/phrases", ROOT / "examples/audio"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
MIN_SETUPTOOLS = 77  # as pyproject.toml says


def run(*command, cwd, **environment) -> str:
    """Standard output of a command that must succeed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a source distribution, unpacked, and of the wheel that was built from it.

    It is made from a copy of the source tree, since building in the checkout would mark it.
    """
    folder = tmp_path_factory.mktemp("built")
    source, backend = folder / "checkout", folder / "backend"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/", "").split()
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", *ignored, "fixtures", "*.safetensors"))
    (source / "tests/test_new.py").touch()  # setuptools adds tests/test*.py of itself
    try:
        setuptools = int(importlib.metadata.version("setuptools").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        setuptools = 0
    if setuptools < MIN_SETUPTOOLS:
        run(*PIP, "install", "--target", backend, f"setuptools>={MIN_SETUPTOOLS}", cwd=folder)
    environment = {"PYTHONPATH": str(backend)} if backend.exists() else {}
    build = "from setuptools import build_meta; build_meta.build_sdist('..')"
    run(sys.executable, "-c", build, cwd=source, **environment)
    (archive,) = folder.glob("*.tar.gz")
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, archive, cwd=folder, **environment)
    with tarfile.open(archive) as members:
        members.extractall(folder / "unpacked", filter="data")
    return folder


@pytest.fixture(scope="module")
def sdist(built):
    (path,) = (built / "unpacked").iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment with the wheel; its other packages are those of the present environment."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    run(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # The folders are searched after the environment's own, and the .pth files in them are not read: an editable
    # install in one of them stays out of sight.
    (site_packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    return python


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def offline(folder):
    return {"HF_HOME": str(folder / "hf_home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def test_the_wheel_holds_the_package_with_its_card_template_and_nothing_of_the_checkout(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"modeling_audio_branch"}
    package = ROOT / "modeling_audio_branch"
    expected = {
        path.relative_to(ROOT).as_posix() for ending in ("py", "md", "txt") for path in package.rglob(f"*.{ending}")
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "modeling_audio_branch/hub/card_template.md" in names


def test_wheel_and_source_distribution_need_python_3_11_and_bring_the_licence(sdist, wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        texts = [archive.read(name).decode()]
        (licence,) = (name for name in archive.namelist() if name.endswith("/licenses/LICENSE"))
        assert archive.read(licence) == (sdist / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    texts.append((sdist / "PKG-INFO").read_text(encoding="utf-8"))
    for metadata in map(Parser().parsestr, texts):
        assert metadata["Requires-Python"] == ">=3.11"
        assert metadata["License-File"] == "LICENSE"


def test_the_source_distribution_holds_the_package_and_no_tests(built, sdist):
    """MANIFEST.in says why. The wheel is built from it, so nothing is missing in it."""
    assert (built / "checkout/tests/conftest.py").exists()
    folders = {path.name for path in sdist.iterdir() if path.is_dir()}
    assert folders == {"modeling_audio_branch", "audio_branch.egg-info"}
    files = {path.name for path in sdist.iterdir() if path.is_file()}
    assert files == {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def test_the_package_runs_as_the_command(installed, elsewhere):
    output = run(installed, "-m", "modeling_audio_branch", "--help", cwd=elsewhere, **offline(elsewhere))
    assert "Usage: audio-branch" in output
    assert all(re.search(rf"\b{command}\b", output) for command in ("convert", "push", "plot", "info", "index", "find"))


USE = """
import importlib.util
import sys
from pathlib import Path

import typer

import modeling_audio_branch
from modeling_audio_branch.cli import app

assert Path(modeling_audio_branch.__file__).is_relative_to(sys.prefix), modeling_audio_branch.__file__
for name in ("feature_extraction", "hub_upload", "configuration_audio_branch", "recipes", "examples", "benchmarks"):
    assert importlib.util.find_spec(name) is None, name

names = {{}}
for block in {blocks!r}:
    for line in block.splitlines():
        expression, _, comment = line.partition("  # ")
        if comment.startswith("torch.Size("):
            shape = str(eval(expression, names))
            assert comment.startswith(shape), (comment, shape)
            print(shape)
        else:
            exec(line, names)
assert names["segments"].shape == (8, 512)

for command in {commands!r}:
    assert not app(command, standalone_mode=False), command
"""


def test_the_readmes_code_and_commands_run_from_any_folder(installed, elsewhere):
    """The model, the archive and the audio are those of the checkout; blocks that download models are left out."""
    pushed, converted = elsewhere / "pushed", elsewhere / "converted"
    paths = {
        "checkpoints/phrases": str(CHECKPOINT),
        "examples/audio": str(AUDIO),
        "clip.wav": str(AUDIO / "not_ill_disposed.wav"),
        "USER/NAME": str(pushed),
    }
    blocks = [block for block in PYTHON_BLOCKS if "from_nemo" not in block]
    assert len(blocks) == len(PYTHON_BLOCKS) - 1
    for name, path in paths.items():
        blocks = [block.replace(f'"{name}', f'"{path}') for block in blocks]

    arguments = {
        "x.nemo": str(NEMO / "fc_ctc_bpe/model.nemo"),
        "FOLDER": str(converted),
        "CHECKPOINT": str(CHECKPOINT),
        "FILE": str(AUDIO / "go_somewhere.flac"),
        "MODEL": str(CHECKPOINT),
        "RECORDINGS": str(AUDIO / "go_somewhere.flac"),
        "QUERY.wav": str(AUDIO / "go_somewhere.flac"),
        "CORPUS": str(AUDIO),
        "TABLE": str(elsewhere / "table"),
        "DIR": str(elsewhere / "db"),
        "OUT": str(elsewhere / "exported"),
    }
    lines = dict.fromkeys(re.findall(r"`audio-branch ([^`]+)`", README))
    commands = {line.split()[0]: [arguments.get(word, word) for word in line.split()] for line in lines}
    servers = {"serve", "app"}  # they have tests of their own
    assert servers < commands.keys()
    commands = {name: words for name, words in commands.items() if name not in servers}
    assert commands.keys() == {"convert", "push", "plot", "info", "index", "find", "embed", "check-batching", "export"}
    push = commands.pop("push") + ["--dry-run", str(pushed)]
    for name in ("plot", "index", "find", "embed"):
        if "--model" not in commands[name]:  # the default is the checkout's checkpoint
            commands[name] += ["--model", str(CHECKPOINT)]

    run(installed.parent / "audio-branch", *push, cwd=elsewhere, **offline(elsewhere))
    assert (pushed / "LICENSE").read_bytes() == (CHECKPOINT / "LICENSE").read_bytes()
    assert "USER/NAME" in (pushed / "README.md").read_text(encoding="utf-8")
    output = run(
        installed,
        "-c",
        USE.format(blocks=blocks, commands=[["--help"], *commands.values()]),
        cwd=elsewhere,
        **offline(elsewhere),
    )
    assert output.splitlines()[:3] == ["torch.Size([2, 8, 512])", "torch.Size([2, 8, 2])", "torch.Size([2, 512])"]
    assert (converted / "model.safetensors").is_file()
    assert (elsewhere / "go_somewhere.segments.png").is_file()
    assert (elsewhere / "db" / "index.json").is_file()
    assert (elsewhere / "table" / "features-000000.parquet").is_file()

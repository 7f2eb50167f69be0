"""The folder of a Space."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.space import check_space, gradio_version, write_space

ROOT = Path(__file__).parents[3]
REQUIREMENTS = (ROOT / "modeling_audio_branch/hub/space_requirements.txt").read_text().split()


def test_the_requirements_are_those_of_the_package_and_of_the_page():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    extras = settings["options.extras_require"]
    page = [line for line in extras["app"].split() if line != "%(search)s"]
    assert "%(search)s" in extras["app"]
    assert sorted(REQUIREMENTS) == sorted(
        {*settings["options"]["install_requires"].split(), *extras["search"].split(), *page}
    )


def test_a_space_holds_all_that_it_needs(small, tmp_path):
    (small / "onnx").mkdir()
    (small / "onnx/model.onnx").touch()
    write_space(small, tmp_path / "space", "user/name", "gpl-2.0")
    names = {path.name for path in (tmp_path / "space").iterdir()}
    assert names == {"app.py", "requirements.txt", "README.md", "modeling_audio_branch", "checkpoint"}
    assert {path.name for path in (tmp_path / "space/checkpoint").iterdir()} == {
        path.name for path in small.iterdir()
    } - {"onnx"}
    assert not [*(tmp_path / "space").rglob("__pycache__")]
    assert (tmp_path / "space/requirements.txt").read_text().split() == REQUIREMENTS
    code = (tmp_path / "space/app.py").read_text()
    assert '"user/name"' in code and "{repo_id}" not in code
    compile(code, "app.py", "exec")
    _, settings, text = (tmp_path / "space/README.md").read_text().split("---\n")
    settings = yaml.safe_load(settings)
    assert settings["sdk"] == "gradio" and settings["app_file"] == "app.py" and settings["license"] == "gpl-2.0"
    assert settings["models"] == ["user/name"] and len(settings["short_description"]) <= 60
    assert settings["python_version"] == "3.11" and "python app.py" in text
    assert any(line.startswith(f"gradio>={settings['sdk_version'].removesuffix('.0')}") for line in REQUIREMENTS)
    assert settings["sdk_version"] == gradio_version()


def test_the_copied_package_is_complete(small, tmp_path):
    write_space(small, tmp_path / "space", "user/name", "mit")
    code = "import modeling_audio_branch.cli, modeling_audio_branch.app.segments as s; print(s.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "space", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "space"))


def test_a_space_is_written_to_a_new_folder_outside_of_the_others(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / "file").mkdir(parents=True)
    check_space(tmp_path / "new", [checkpoint])
    for folder, words in ((checkpoint, "exists"), (checkpoint / "in", "in one another"), (tmp_path, "exists")):
        with pytest.raises(UploadError, match=words):
            check_space(folder, [checkpoint])
    with pytest.raises(UploadError, match="in one another"):
        check_space(tmp_path / "a", [tmp_path / "a/b"])

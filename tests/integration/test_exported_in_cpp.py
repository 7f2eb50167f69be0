"""An exported model in C++: the code of its README is compiled as it is printed."""

import re

import pytest

from helpers.cpp import run_cpp
from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.export import export_model


@pytest.mark.parametrize(("spans", "printed"), [(False, "1 4 12 "), (True, "1 1 4 12 ")])
def test_the_readme_runs_in_cpp_as_it_is_printed(spans, printed, tmp_path):
    export_model(make_model(AudioBranchModel, tiny_config(num_layers=1)), tmp_path / "out", spans=spans)
    code = re.search(r"```cpp\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "build").mkdir()
    assert run_cpp(code, tmp_path / "out", tmp_path / "build") == printed

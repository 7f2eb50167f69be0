"""The clean process: what it gets, and which of its answers are refused. tests/integration runs real ones."""

import json
import math
import subprocess
from pathlib import Path

import pytest

from modeling_audio_branch.hub.clean_room import HIDDEN_VARIABLES, Expectation, verify_in_clean_process
from modeling_audio_branch.hub.errors import UploadError

EXPECTED = Expectation(Path("golden.safetensors"), tolerance=1e-4, is_classifier=True, printed=["1", "2"])


@pytest.fixture
def process(monkeypatch):
    """Takes the place of the process: records its call, and gives the answer set in `answer`."""

    class Process:
        returncode, stderr, answer = 0, "", {"difference": 1e-5, "printed": ["1", "2"]}

        def run(self, command, input, cwd, env, **_):
            self.request, self.environment = json.loads(input), env
            self.clips = sorted(path.name for path in Path(cwd).iterdir())
            stdout = f"a warning\n{json.dumps(self.answer)}\n"
            return subprocess.CompletedProcess(command, self.returncode, stdout, self.stderr)

    process = Process()
    monkeypatch.setattr(subprocess, "run", process.run)
    for name in HIDDEN_VARIABLES:
        monkeypatch.setenv(name, "hf_alice")
    return process


def test_a_folder_is_loaded_offline_without_the_package_and_without_the_token(process):
    assert verify_in_clean_process("/folder", None, EXPECTED) == ["1", "2"]
    assert process.request["repository"] == "/folder" and process.request["revision"] is None
    assert process.request["golden"] == "golden.safetensors" and process.request["is_classifier"]
    assert process.clips == ["one.wav", "two.wav"]
    assert process.environment["HF_HUB_OFFLINE"] == "1" and "hf_alice" not in process.environment.values()


@pytest.mark.parametrize("private", [False, True])
def test_only_a_private_repository_gets_the_token(private, process):
    verify_in_clean_process("alice/tiny", "abc", EXPECTED, private)
    assert 'revision="abc"' in process.request["snippet"]
    given = [name for name, value in process.environment.items() if value == "hf_alice"]
    assert given == (["HF_TOKEN"] if private else [])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"returncode": 1, "stderr": "Traceback\nKeyError: 'x'\n"}, "does not load in a fresh process: KeyError: 'x'"),
        ({"returncode": -9}, "does not load in a fresh process: it was killed"),
        ({"answer": {"difference": 0.5, "printed": ["1", "2"]}}, "its output differs by 0.5 .* from the golden one"),
        ({"answer": {"difference": math.nan, "printed": ["1", "2"]}}, "its output differs by nan"),
        ({"answer": {"difference": 0.0, "printed": ["1"]}}, r"prints \['1'\] in place of \['1', '2'\]"),
    ],
)
def test_a_failure_is_one_sentence_with_the_revision(change, sentence, process):
    for name, value in change.items():
        setattr(process, name, value)
    with pytest.raises(UploadError, match=f"^alice/tiny at abc .*{sentence}") as error:
        verify_in_clean_process("alice/tiny", "abc", EXPECTED)
    assert "\n" not in str(error.value)

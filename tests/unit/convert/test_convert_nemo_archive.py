"""Archives are read without running or unpacking anything in them."""

import gzip
import io
import os
import tarfile

import pytest
import torch
from typer.testing import CliRunner

from helpers.nemo_archives import NEMO
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli import app


def test_a_gzip_archive_equals_the_plain_one(tmp_path):
    plain = NEMO / "fc_local4/model.nemo"
    (tmp_path / "old.nemo").write_bytes(gzip.compress(plain.read_bytes(), 1))
    states = [AudioBranchModel.from_nemo(path).encoder.state_dict() for path in (plain, tmp_path / "old.nemo")]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value)


class Exploit:
    """Unpickling it would leave a file behind."""

    def __reduce__(self):
        return (os.mkdir, ("exploited",))


def hostile(folder, kind):
    path = folder / "hostile.nemo"
    good = NEMO / "fc_local4/model.nemo"
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:700_000])
    elif kind == "truncated gzip":
        path.write_bytes(gzip.compress(good.read_bytes(), 1)[:300_000])
    elif kind == "foreign":
        path.write_bytes(b"RIFF....WAVEfmt " * 100)
    elif kind == "empty":
        path.touch()
    else:
        members = {"./model_config.yaml": b"encoder: {}\npreprocessor: {}\n", "./model_weights.ckpt": b""}
        if kind == "parent path":
            members["../../escape"] = b"x"
        elif kind == "absolute path":
            members["/tmp/escape"] = b"x"
        elif kind == "no config":
            del members["./model_config.yaml"]
        elif kind == "no sections":
            members["./model_config.yaml"] = b"decoder: {}\n"
        elif kind == "unsafe yaml":
            members["./model_config.yaml"] = b"encoder: !!python/object/apply:os.mkdir [exploited]\n"
        elif kind == "malformed yaml":  # for which PyYAML raises an IndexError
            members["./model_config.yaml"] = b"encoder: !!int ''\n"
        elif kind == "model parallel":
            members["./mp_rank_00/model_weights.ckpt"] = b"x"
        buffer = io.BytesIO()
        torch.save(Exploit() if kind == "pickle" else [1] if kind == "no dictionary" else {"a": torch.zeros(1)}, buffer)
        members["./model_weights.ckpt"] = b"garbage" if kind == "garbage weights" else buffer.getvalue()
        with tarfile.open(path, "w") as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                if kind == "link" and name == "./model_weights.ckpt":
                    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
                archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("truncated", "can't be read as a tar archive"),
        ("truncated gzip", "can't be read as a tar archive"),
        ("foreign", "can't be read as a tar archive"),
        ("empty", "can't be read as a tar archive"),
        ("parent path", "'../../escape', which points outside"),
        ("absolute path", "'/tmp/escape', which points outside"),
        ("no config", "has no file model_config.yaml"),
        ("no sections", "has no sections 'preprocessor' and 'encoder'"),
        ("unsafe yaml", "can't be read as plain YAML"),
        ("malformed yaml", "can't be read as plain YAML"),
        ("pickle", "can't be read as plain tensors"),
        ("garbage weights", "can't be read as plain tensors"),
        ("no dictionary", "is not a dictionary of tensors"),
        ("link", "has no file model_weights.ckpt"),
        ("model parallel", "holds model-parallel weights"),
    ],
)
def test_a_broken_archive_gives_one_sentence_and_runs_nothing(kind, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = hostile(tmp_path, kind)
    with pytest.raises(ValueError) as raised:
        AudioBranchModel.from_nemo(path)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    result = CliRunner().invoke(app, ["convert", str(path), "new"])
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"hostile.nemo"}

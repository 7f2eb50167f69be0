"""Archives are read without running or unpacking anything in them."""

import gzip
import io
import os
import tarfile
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from helpers.nemo_archives import NEMO, change
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli import app
from modeling_audio_branch.convert import nemo_archive
from modeling_audio_branch.convert.nemo_archive import NemoError


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
        elif kind in ("pickle", "garbage weights", "no dictionary"):  # the weights are read after a good configuration
            with tarfile.open(good) as source:
                members["./model_config.yaml"] = source.extractfile("./model_config.yaml").read()
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


def with_config(folder, text):
    """An archive with this text as its configuration."""
    path = folder / "hostile.nemo"
    with tarfile.open(NEMO / "fc_local4/model.nemo") as source, tarfile.open(path, "w") as copy:
        for member in filter(tarfile.TarInfo.isreg, source):
            data = source.extractfile(member).read()
            data = text.encode() if member.name.endswith("model_config.yaml") else data
            member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    return path


def laughs(levels, width):
    """Nested aliases: `levels` lines stand for width ** levels values."""
    lines = ["a0: &a0 [" + ", ".join(["x"] * width) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join(
        [*lines, f"preprocessor: {{normalize: *a{levels - 1}}}", f"encoder: {{reduction: *a{levels - 1}}}"]
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (laughs(9, 9), "has more than 20 aliases"),
        ("preprocessor: &a {}\nencoder: {" + ", ".join(f"s{n}: *a" for n in range(30)) + "}", "more than 20 aliases"),
        ("preprocessor: {}\nencoder: " + "[" * 40 + "]" * 40, "has more than 32 levels"),
        ("encoder: " + "[" * 100_000, "has more than 32 levels"),
        ("encoder: " + "x" * 5_000_001, "at most 5000000 are read"),
        ("encoder: {n_layers: " + "9" * 5000 + "}", "has a number of more than 100 characters"),
    ],
)
def test_a_configuration_that_asks_for_too_much_is_refused_by_the_bound(text, sentence, tmp_path):
    with pytest.raises(NemoError) as raised:
        AudioBranchModel.from_nemo(with_config(tmp_path, text))
    assert sentence in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 400


@given(st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_number_of_nested_aliases_takes_long_or_makes_a_long_sentence(tmp_path, levels, width):
    with pytest.raises(NemoError) as raised:
        AudioBranchModel.from_nemo(with_config(tmp_path, laughs(levels, width)))
    assert len(str(raised.value)) < 600


def bomb(path, before=(), after=(), num_bytes=70_000_000):
    """A small compressed archive with a large member between others of a good archive."""
    with tarfile.open(NEMO / "fc_local4/model.nemo") as source, tarfile.open(path, "w:gz", compresslevel=1) as copy:
        for name in before:
            copy.addfile(source.getmember(name), source.extractfile(name))
        member = tarfile.TarInfo("decoder")
        member.size = num_bytes
        copy.addfile(member, io.BytesIO(bytes(num_bytes)))
        for name in after:
            copy.addfile(source.getmember(name), source.extractfile(name))
    return path


@pytest.mark.parametrize("num_before", [0, 1, 2])
def test_a_compressed_archive_unpacks_to_a_bounded_size(num_before, tmp_path, monkeypatch):
    names = ["./model_config.yaml", "./model_weights.ckpt"]
    path = bomb(tmp_path / "bomb.nemo", names[:num_before], names[num_before:])
    written = []
    copy = nemo_archive.tempfile.TemporaryFile
    monkeypatch.setattr(nemo_archive.tempfile, "TemporaryFile", lambda: written.append(copy()) or written[-1])
    if num_before < 2:
        with pytest.raises(NemoError, match="unpacks to more than 64000000 bytes, 10 times its size"):
            AudioBranchModel.from_nemo(path)
        assert not written
    else:  # what follows the weights is not unpacked
        AudioBranchModel.from_nemo(path)
        assert written and all(file.closed for file in written)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_weights_far_larger_than_the_configuration_needs_are_never_read_or_copied(is_compressed, tmp_path, monkeypatch):
    path = tmp_path / "large.nemo"
    with tarfile.open(NEMO / "fc_local4/model.nemo") as source, tarfile.open(path, "w") as copy:
        weights = source.getmember("./model_weights.ckpt")
        weights.size = 65_000_000
        copy.addfile(weights, io.BytesIO(os.urandom(1000) * 65_000))
        copy.addfile(source.getmember("./model_config.yaml"), source.extractfile("./model_config.yaml"))
    if is_compressed:
        monkeypatch.setattr(nemo_archive, "MAX_UNPACKED_RATIO", 10**6)
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    monkeypatch.setattr(nemo_archive.tempfile, "TemporaryFile", lambda: pytest.fail("a copy is made"))
    monkeypatch.setattr(nemo_archive, "read_tensors", lambda *_: pytest.fail("the weights are read"))
    with pytest.raises(NemoError) as raised:
        AudioBranchModel.from_nemo(path)
    assert "of 65000000 bytes, but the encoder of its configuration has only" in str(raised.value)
    assert "for which at most 64000000 bytes are read" in str(raised.value)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_the_configuration_is_read_first_wherever_it_is(is_compressed, tmp_path):
    path = tmp_path / "turned.nemo"
    with tarfile.open(NEMO / "fc_local4/model.nemo") as source, tarfile.open(path, "w") as copy:
        for member in [*filter(tarfile.TarInfo.isreg, source)][::-1]:
            copy.addfile(member, source.extractfile(member))
    if is_compressed:
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    states = [AudioBranchModel.from_nemo(each).encoder.state_dict() for each in (NEMO / "fc_local4/model.nemo", path)]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value)


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "twice.nemo"
    with tarfile.open(NEMO / "fc_local4/model.nemo") as source, tarfile.open(path, "w") as copy:
        for member in [*filter(tarfile.TarInfo.isreg, source)] * 2:
            copy.addfile(member, source.extractfile(member))
    with pytest.raises(NemoError, match="holds model_config.yaml twice"):
        AudioBranchModel.from_nemo(path)


@pytest.mark.parametrize(
    ("change_settings", "sentence"),
    [
        ({"n_layers": 10**9}, "n_layers=1000000000; at most 1000 are supported"),
        ({"n_layers": 900}, "numbers for the encoder, but its weights have only"),
        ({"d_model": 2**20, "n_heads": 1}, "numbers for the encoder, but its weights have only"),
        ({"subsampling_conv_channels": 10**7}, "numbers for the encoder, but its weights have only"),
        ({"d_model": 2**30, "n_heads": 1}, "more numbers than torch counts"),
        ({"conv_kernel_size": 10**9 + 1}, "numbers for the encoder, but its weights have only"),
    ],
)
def test_an_encoder_that_the_weights_can_not_fill_is_refused_before_it_is_made(change_settings, sentence, tmp_path):
    path = change(NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "a.nemo", lambda c: c["encoder"].update(change_settings))
    with pytest.raises(NemoError, match=sentence):
        AudioBranchModel.from_nemo(path)


@pytest.mark.parametrize("kind", ["repeated", "sparse", "meta"])
def test_a_tensor_without_values_of_its_own_is_refused(kind, tmp_path):
    value = {
        "repeated": lambda: torch.zeros(1).expand(10**12),
        "sparse": lambda: torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (10**12,)),
        "meta": lambda: torch.zeros(10**12, device="meta"),
    }[kind]()
    name = "encoder.layers.0.self_attn.linear_q.weight"
    path = change(NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "a.nemo", None, lambda w: w.update({name: value}))
    with pytest.raises(NemoError, match="not a plain tensor of its own values|can't be read as plain tensors"):
        AudioBranchModel.from_nemo(path)


def test_weights_that_are_compressed_once_more_and_too_many_members_are_refused(tmp_path, monkeypatch):
    archive = NEMO / "fc_ctc_bpe/model.nemo"
    with tarfile.open(archive) as source:
        weights = next(source.extractfile(member).read() for member in source if member.name.endswith(".ckpt"))
        config = next(source.extractfile(member).read() for member in source if member.name.endswith(".yaml"))
    deflated = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(weights)) as old, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    with tarfile.open(tmp_path / "a.nemo", "w") as copy:
        for name, data in {"model_config.yaml": config, "model_weights.ckpt": deflated.getvalue()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    with pytest.raises(NemoError, match="is compressed once more"):
        AudioBranchModel.from_nemo(tmp_path / "a.nemo")
    monkeypatch.setattr(nemo_archive, "MAX_MEMBERS", 1)
    with pytest.raises(NemoError, match="holds more than 1 members"):
        AudioBranchModel.from_nemo(archive)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["encoder.layers.0.norm_out.weight", "preprocessor.featurizer.fb"])
def test_weights_that_are_no_numbers_are_refused_by_name(name, value, tmp_path):
    path = change(
        NEMO / "fc_ctc_bpe/model.nemo", tmp_path / "a.nemo", None, lambda w: w[name].view(-1)[3:4].fill_(value)
    )
    with pytest.raises(NemoError, match=f"{name} has values that are NaN or infinite"):
        AudioBranchModel.from_nemo(path)

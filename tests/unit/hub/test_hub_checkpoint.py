"""Reading a checkpoint folder: what is wrong with it is one sentence, and nothing is uploaded."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.publishing import save_checkpoint
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.hub.checkpoint import copy_weights
from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.push import push_checkpoint


def broken(folder, checkpoint, what):
    shutil.copytree(checkpoint, folder)
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "no weights":
        (folder / "model.safetensors").unlink()
    elif what == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif what == "secret":
        (folder / "secrets.env").write_text("HF_TOKEN=hf_alice")
    elif what == "link":
        (folder / "LICENSE").symlink_to("/etc/hostname")
    elif what == "adapter":
        (folder / "adapter_config.json").write_text("{}")
    elif what == "other model":
        (folder / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    elif what == "no json":
        (folder / "config.json").write_text("not json")
    elif what in ("setting", "extractor's setting"):
        path = folder / ("config.json" if what == "setting" else "preprocessor_config.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"api_key": "hf_alice"}))
    elif what == "odd architecture":
        (folder / "config.json").write_text('{"architectures": [["x"]], "model_type": "audio_branch"}')
    elif what == "a weight is missing":
        weights = load_file(folder / "model.safetensors")
        del weights["projection.1.bias"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    elif what == "half a file":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    return folder


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("no config", "holds no config.json"),
        ("no weights", "holds no model.safetensors"),
        ("pickle", "pytorch_model.bin, which is or may be a pickle"),
        ("secret", "secrets.env, which is not part of a model"),
        ("link", "LICENSE, which is not a regular file"),
        ("adapter", "merge it first"),
        ("other model", "is of a BertModel"),
        ("no json", "is not a configuration"),
        ("setting", "holds api_key, which is not a setting"),
        ("extractor's setting", "holds api_key, which is not a setting"),
        ("odd architecture", "allowed are AudioBranchModel"),
        ("a weight is missing", r"projection\.1\.bias"),
        ("half a file", "cannot be loaded"),
    ],
)
def test_a_bad_checkpoint_is_refused_in_one_sentence_and_nothing_is_sent(what, sentence, checkpoint, hub, tmp_path):
    with pytest.raises(UploadError, match=sentence) as error:
        push_checkpoint(broken(tmp_path / "bad", checkpoint, what), "alice/tiny", yes=True)
    assert "\n" not in str(error.value)
    assert not hub.repositories


@pytest.fixture(params=["float16", "bfloat16", "float32", "mixed"])
def stored(request, tmp_path):
    """A checkpoint whose weights are stored in this dtype; `mixed`: every other one in half precision."""
    folder = save_checkpoint(tmp_path / "stored")
    weights = load_file(folder / "model.safetensors")
    for index, name in enumerate(sorted(weights)):
        if request.param != "mixed":
            weights[name] = weights[name].to(getattr(torch, request.param))
        elif index % 2:
            weights[name] = weights[name].half()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt", "secret": "hf_alice"})
    return folder


def test_weights_are_published_in_the_dtype_in_which_they_are_stored(stored, tmp_path, no_clean_room):
    push_checkpoint(stored, "alice/tiny", dry_run=tmp_path / "out")
    had, sent = (load_file(folder / "model.safetensors") for folder in (stored, tmp_path / "out"))
    assert had.keys() == sent.keys()
    assert all(had[name].dtype == sent[name].dtype and torch.equal(had[name], sent[name]) for name in had)
    assert b"hf_alice" not in (tmp_path / "out" / "model.safetensors").read_bytes()
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["dtype"] == json.loads((stored / "config.json").read_text())["dtype"] == "float32"


def test_weights_in_several_files_stay_so_in_their_dtype(tmp_path, no_clean_room):
    folder = save_checkpoint(tmp_path / "one")
    model = AudioBranchModel.from_pretrained(folder)
    several = tmp_path / "several"
    shutil.copytree(folder, several)
    (several / "model.safetensors").unlink()
    half = {name: value.half() for name, value in model.state_dict().items()}
    model.save_pretrained(several, state_dict=half, max_shard_size="10KB")
    push_checkpoint(several, "alice/tiny", dry_run=tmp_path / "out")
    names = sorted(path.name for path in several.glob("model*"))
    assert len(names) > 3 and names == sorted(path.name for path in (tmp_path / "out").glob("model*"))
    assert "stored as float16, computed with in float32" in (tmp_path / "out" / "README.md").read_text()
    loaded = AudioBranchModel.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(value, half[name].to(value.dtype)) for name, value in loaded.items())


def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "target").mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    for name in ("../x.safetensors", "other.safetensors", "model-00001-of-00002.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(UploadError, match="names files that are not weights of this folder"):
            copy_weights(tmp_path, tmp_path / "target")

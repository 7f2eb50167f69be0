"""Reading a checkpoint folder: what is wrong with it is one sentence, and nothing is uploaded."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

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

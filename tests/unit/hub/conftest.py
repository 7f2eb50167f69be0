"""Fixtures of publishing: a Hub on this machine, and small checkpoints."""

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from helpers.loopback_hub import LoopbackHub
from helpers.publishing import save_checkpoint
from modeling_audio_branch.hub import clean_room


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def small(tmp_path):
    """A folder that may be uploaded, without a model in it, for tests of the upload itself."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "audio_branch"}')
    (folder / "README.md").write_text("---\nlibrary_name: transformers\nlicense: mit\n---\n")
    save_file({"weight": torch.randn(100)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that this process talks to, as alice."""
    with LoopbackHub() as hub:
        for name in ("ENDPOINT", "_HF_DEFAULT_ENDPOINT"):
            monkeypatch.setattr(huggingface_hub.constants, name, hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        for name, value in hub.environment(tmp_path / "hf").items():  # of processes that are started
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_alice")
        yield hub


@pytest.fixture
def no_clean_room(monkeypatch):
    """Leaves out the clean processes, which take seconds each, where they are not what is tested."""
    monkeypatch.setattr(clean_room, "verify_in_clean_process", lambda *_: ["torch.Size([2, 4, 12])"] * 4)

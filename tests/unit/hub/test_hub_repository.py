"""The folder that becomes the repository: its licence, and what may be in it."""

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import save_rotation
from modeling_audio_branch.corpus.compression import rotation_of
from modeling_audio_branch.corpus.settings import SearchSettings, read_settings
from modeling_audio_branch.hub import repository
from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.repository import check_allowlist, copy_corpus_settings, license_text


def test_files_of_the_allowlist_are_listed_by_name(small):
    (small / ".eval_results").mkdir()
    (small / ".eval_results" / "audio_branch.yaml").touch()
    (small / "model-00001-of-00002.safetensors").touch()
    names = [".eval_results/audio_branch.yaml", "README.md", "config.json", "model-00001-of-00002.safetensors"]
    assert check_allowlist(small) == [*names, "model.safetensors"]


@pytest.mark.parametrize("name", ["secrets.env", "pytorch_model.bin", "code/model.py", ".eval_results/x.py", "LICENSE"])
def test_other_files_and_links_are_refused(name, small):
    path = small / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/etc/hostname") if name == "LICENSE" else path.touch()
    with pytest.raises(UploadError, match=f"{name} may not be published"):
        check_allowlist(small)


def test_the_licence_is_the_one_of_the_checkout_or_of_the_installed_package(tmp_path, monkeypatch):
    checkout = (Path(__file__).parents[3] / "LICENSE").read_text()
    assert license_text() == checkout
    installed = tmp_path / "site-packages" / "modeling_audio_branch" / "hub" / "repository.py"
    monkeypatch.setattr(repository, "__file__", str(installed))
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "LICENSE").write_text("of another package")
    texts = {"licenses/LICENSE": "of the wheel"}
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: SimpleNamespace(read_text=texts.get))
    assert license_text() == "of the wheel"


def test_search_settings_and_rotation_are_published_if_they_are_of_the_model(tmp_path):
    model, settings = make_model(AudioBranchModel, tiny_config()), SearchSettings(3)
    folder = tmp_path / "repository"
    settings.measure(torch.randn(100, 16))
    settings.save(tmp_path / "search.safetensors")
    save_rotation(torch.eye(model.config.feature_dim), tmp_path)
    copy_corpus_settings(tmp_path, folder, model)
    assert read_settings(folder / "search.safetensors").attention_window == 3
    assert torch.equal(rotation_of(str(folder), model.config.feature_dim), torch.eye(model.config.feature_dim))
    settings.measure(torch.randn(100, 8))
    settings.save(tmp_path / "search.safetensors")
    with pytest.raises(UploadError, match="search.safetensors holds search settings that don't fit the model"):
        copy_corpus_settings(tmp_path, folder, model)
    (tmp_path / "search.safetensors").unlink()
    save_rotation(torch.eye(3), tmp_path)
    with pytest.raises(UploadError, match="rotation.safetensors holds no rotation of"):
        copy_corpus_settings(tmp_path, folder, model)

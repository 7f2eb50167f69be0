"""What ships: weights in half precision, and no code."""

import json

import pytest
import torch
from safetensors.torch import load_file

from helpers.encoders import make
from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.sentence_transformers_files import FILES
from recipes.phrases.ship import save_without_code


def test_the_folder_has_the_weights_and_settings_and_no_code(tmp_path):
    model = make_model(AudioBranchModel, tiny_config(embedding_output="sequence_embedding"))
    save_without_code(model, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.safetensors", "config.json", "preprocessor_config.json", *FILES}
    for name in ("config.json", "preprocessor_config.json"):
        assert "auto_map" not in json.loads((tmp_path / name).read_text())
    state = load_file(tmp_path / "model.safetensors")
    assert all(state[name].dtype == torch.float16 for name, _ in model.named_parameters())
    rounded = AudioBranchModel.from_pretrained(tmp_path)
    assert rounded.dtype == torch.float32 and rounded.config.embedding_output == "sequence_embedding"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(rounded.state_dict()[name], value, atol=2e-3, rtol=1e-3)


def test_no_folder_of_this_machine_is_named(tmp_path):
    model = make("whisper")
    model.config.encoder_config._name_or_path = "/home/somebody/whisper"
    save_without_code(model, tmp_path)
    assert not any("somebody" in path.read_text() for path in tmp_path.glob("*.json"))
    assert AudioBranchModel.from_pretrained(tmp_path).front_end.max_samples == 32000


@pytest.mark.parametrize("name", FILES)
def test_the_files_of_sentence_transformers_stay_as_they_are(tmp_path, name):
    model = make_model(AudioBranchModel, tiny_config())
    model.save_pretrained(tmp_path / "whole")
    save_without_code(model, tmp_path / "shipped")
    assert json.loads((tmp_path / "shipped" / name).read_text()) == json.loads((tmp_path / "whole" / name).read_text())

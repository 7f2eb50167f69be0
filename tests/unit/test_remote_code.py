"""Encoders with remote code run only if trusted, and are saved with their code."""

import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel

import modeling_audio_branch
from helpers.encoders import SMALL
from helpers.fresh_process import run_fresh
from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)
from modeling_audio_branch.remote_code import auto_model_class

CUSTOM_CODE = {
    "configuration_tiny_encoder.py": """
        from transformers import PreTrainedConfig

        class TinyEncoderConfig(PreTrainedConfig):
            model_type = "tiny_encoder"
            hidden_size: int = 16
            num_hidden_layers: int = 1
        """,
    "tiny_layer.py": """
        from torch import nn

        class TinyLayer(nn.Linear):
            pass
        """,
    "features_of_tiny_encoder.py": """
        from transformers import Wav2Vec2FeatureExtractor

        class TinyFeatureExtractor(Wav2Vec2FeatureExtractor):
            pass
        """,
    "modeling_tiny_encoder.py": """
        import torch
        from torch import nn
        from transformers import PreTrainedModel
        from transformers.modeling_outputs import BaseModelOutput
        from .configuration_tiny_encoder import TinyEncoderConfig
        from .tiny_layer import TinyLayer

        class TinyEncoder(PreTrainedModel):
            config_class = TinyEncoderConfig
            main_input_name = "input_values"

            def __init__(self, config):
                super().__init__(config)
                self.layers = nn.ModuleList([TinyLayer(320, config.hidden_size)])
                self.post_init()

            def _get_feat_extract_output_lengths(self, lengths):
                return lengths // 320

            def forward(self, input_values, attention_mask=None, output_hidden_states=False, **kwargs):
                frames = input_values[:, : input_values.shape[1] // 320 * 320].unflatten(1, (-1, 320))
                return BaseModelOutput(last_hidden_state=self.layers[0](frames))
        """,
    "save.py": """
        import sys
        import torch
        from code_of_encoder.configuration_tiny_encoder import TinyEncoderConfig
        from code_of_encoder.modeling_tiny_encoder import TinyEncoder
        from code_of_encoder.features_of_tiny_encoder import TinyFeatureExtractor
        TinyFeatureExtractor.register_for_auto_class()
        TinyEncoderConfig.register_for_auto_class()
        TinyEncoder.register_for_auto_class("AutoModel")
        torch.manual_seed(0)
        TinyEncoder(TinyEncoderConfig()).save_pretrained(sys.argv[1])
        TinyFeatureExtractor(do_normalize=False).save_pretrained(sys.argv[1])
        """,
}


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A folder `model` of an encoder with its own code, and the source `code_of_encoder`, which wrote it."""
    folder = tmp_path_factory.mktemp("encoder")
    source = folder / "code_of_encoder"
    source.mkdir()
    for file, code in CUSTOM_CODE.items():
        (source / file).write_text(textwrap.dedent(code))
    command = [sys.executable, str(source / "save.py"), str(folder / "model")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(folder)})
    return folder


def copy_encoder(folder, parent, change=("", "")):
    """A copy of the encoder's folder below `parent`, whose code and weights have a text replaced by another."""
    repository = parent / "model"
    shutil.copytree(folder / "model", repository)
    code = repository / "modeling_tiny_encoder.py"
    code.write_text(code.read_text().replace(*change))
    weights = load_file(repository / "model.safetensors")
    old, new = (text.removeprefix("self.") for text in change)
    renamed = {name.replace(old, new) if old.isidentifier() else name: value for name, value in weights.items()}
    save_file(renamed, repository / "model.safetensors", metadata={"format": "pt"})
    return repository


def test_an_encoder_with_its_own_code_runs_only_if_trusted_and_is_saved_with_its_code(encoder_folder, tmp_path):
    repository, source = copy_encoder(encoder_folder, tmp_path), tmp_path / "code_of_encoder"
    shutil.copytree(encoder_folder / "code_of_encoder", source)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        AudioBranchModel.from_encoder(repository)
    model = AudioBranchModel.from_encoder(repository, trust_remote_code=True, **SMALL)
    clip = random_clips([16000])[0]
    with torch.no_grad():
        output = model(clip[None])
    assert output.last_hidden_state.shape == (1, 50, 16)
    for saved in (model, AudioBranchFeatureExtractor.from_model(model)):
        saved.save_pretrained(tmp_path / "saved")
    assert CUSTOM_CODE.keys() - {"save.py"} <= {file.name for file in (tmp_path / "saved").iterdir()}
    for ours in (AudioBranchModel, AudioBranchFeatureExtractor):
        with pytest.raises(ValueError, match="brings its own code, .*trust_remote_code=True"):
            ours.from_pretrained(tmp_path / "saved")
    for saved in (model, AudioBranchFeatureExtractor.from_model(model)):
        with pytest.raises(ValueError, match="push_to_hub=True leaves out"):
            saved.save_pretrained(tmp_path / "pushed", push_to_hub=True)
    elsewhere = json.loads((tmp_path / "saved" / "config.json").read_text())
    elsewhere["encoder_config"]["auto_map"] = {
        name: f"{source}--{reference}" for name, reference in elsewhere["encoder_config"]["auto_map"].items()
    }
    (tmp_path / "elsewhere").mkdir()
    for file in (tmp_path / "saved").iterdir():
        if file.is_file():
            (tmp_path / "elsewhere" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "elsewhere" / "config.json").write_text(json.dumps(elsewhere))
    with pytest.raises(ValueError, match="another repository"):
        AudioBranchModel.from_pretrained(tmp_path / "elsewhere", trust_remote_code=True)
    again = AudioBranchModel.from_pretrained(tmp_path / "saved", trust_remote_code=True)
    with torch.no_grad():
        assert torch.equal(again(clip[None]).segment_features, output.segment_features)

    torch.save(clip, tmp_path / "clip.pt")
    for folder in (repository, source):
        for file in folder.iterdir():
            if file.is_file():
                file.unlink()  # all it needs is in the saved folder
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel
    folder, clip = {str(tmp_path / "saved")!r}, torch.load({str(tmp_path / "clip.pt")!r})
    for repeat in range(2):
        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
        with torch.no_grad():
            inputs = extractor(clip, sampling_rate=16000, return_tensors="pt")
            print(model(**inputs).segment_features.double().sum().item())
        folder = {str(tmp_path / "again")!r}
        for saved in (model, extractor):
            saved.save_pretrained(folder)
    """
    totals = [float(line) for line in run_fresh(code, tmp_path).split()]
    assert totals == pytest.approx([output.segment_features.double().sum().item()] * 2, abs=1e-5)


def test_folders_of_one_name_run_their_own_code_in_one_process(tmp_path):
    """Transformers names the module of a local folder by its base name and a hash of its source files."""
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=2))
    extractor = AudioBranchFeatureExtractor.from_model(model)
    for parent in ("first", "second", "third"):
        for saved in (model, extractor):
            saved.save_pretrained(tmp_path / parent / "model")
    changes = {
        "second": ("pooling.py", "+ self.temporal_encoding", "- 100"),
        "third": ("log_mel.py", ".log()", ".sin()"),
    }
    for parent, (file, old, new) in changes.items():
        path = tmp_path / parent / "model" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    code = f"""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
    torch.manual_seed(0)
    clip, sums = torch.randn(1, 8000), {{}}
    for parent in ("first", "second", "third", "first"):
        folder = f"{tmp_path}/{{parent}}/model"
        outputs = []
        for auto in (AutoModel, AutoModelForAudioClassification):
            model = auto.from_pretrained(folder, trust_remote_code=True)
            with torch.no_grad():
                outputs.append(model.base_model(clip).segment_features)
        embed = pipeline("audio-segment-embedding", model=folder, trust_remote_code=True)
        outputs.append(torch.from_numpy(embed(clip[0].numpy(), sampling_rate=16000)["segment_features"])[None])
        assert all(torch.allclose(output, outputs[0], atol=1e-4) for output in outputs), parent
        sums.setdefault(parent, []).append(outputs[0].double().sum().item())
    assert sums["first"][0] == sums["first"][1]
    assert len({{values[0] for values in sums.values()}}) == 3, sums
    """
    run_fresh(code, tmp_path)


def test_encoders_in_folders_of_one_name_run_their_own_code(encoder_folder, tmp_path):
    changes = {"first": ("", ""), "second": ("layers[0](frames)", "layers[0](frames) * 0 + 5")}
    for parent, change in changes.items():
        repository = copy_encoder(encoder_folder, tmp_path / parent, change)
        model = AudioBranchModel.from_encoder(repository, trust_remote_code=True, **SMALL)
        with torch.no_grad():
            frames = model(random_clips([16000])[0][None]).last_hidden_state
        assert (frames == 5).all() == (parent == "second")
    third = copy_encoder(encoder_folder, tmp_path / "third", ("self.layers", "self.blocks"))
    found = {auto_model_class(tmp_path / parent / "model", trust_remote_code=True) for parent in changes}
    assert len(found | {auto_model_class(third, trust_remote_code=True)}) == 3
    _, loading = auto_model_class(third, trust_remote_code=True).from_pretrained(third, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert auto_model_class(third) is AutoModel


@pytest.fixture
def warnings(caplog, monkeypatch):
    """Takes the warnings about other code that were logged since the last call."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)

    def take():
        found = [record.getMessage() for record in caplog.records if "has its own code" in record.getMessage()]
        caplog.clear()
        return found

    return take


def test_a_trusted_folder_whose_code_is_not_the_code_that_runs_gives_one_warning(tmp_path, warnings):
    model = make_model(AudioBranchModel, tiny_config())
    folder = tmp_path / "saved"
    for saved in (model, AudioBranchFeatureExtractor.from_model(model)):
        saved.save_pretrained(folder)
    for auto in (AutoModel, AutoFeatureExtractor):
        auto.from_pretrained(folder, trust_remote_code=True)
    assert warnings() == []  # the same code
    for file, line in {"pooling.py": b"\nWINDOW = 3\n", "log_mel.py": b"\nWINDOW = 4\n"}.items():
        (folder / file).write_bytes((folder / file).read_bytes() + line)
    (folder / "masks.py").write_bytes((folder / "masks.py").read_bytes().replace(b"\n", b"\r\n"))
    AudioBranchModel.from_pretrained(folder)
    assert warnings() == []  # it is not asked to run the folder's code
    for auto in (AutoModel, AutoModel, AutoFeatureExtractor):
        auto.from_pretrained(folder, trust_remote_code=True)
    (message,) = warnings()
    running = Path(modeling_audio_branch.__file__).parent
    assert message.startswith(f"{folder} has its own code, but that of {running} runs, which differs in log_mel.py, p")
    assert message.count(".py") == 2

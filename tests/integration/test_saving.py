"""What is saved is what was: to the bit, in a fresh process without the package, and saved again from there."""

from pathlib import Path

import pytest
import torch
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.fresh_process import run_fresh
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel

ROOT = Path(__file__).parent.parent
ARCHITECTURES = [
    {},
    {"subsampling_factor": 8, "position_embedding": "relative", "conv_norm": "batch"},
    {"pooling_type": "learnable", "use_weighted_layer_sum": True, "use_bias": False},
    {"pooling_type": "max", "use_temporal_encoding": False, "attention_window": 3},
]


def save(model, folder):
    model.save_pretrained(folder)
    AudioBranchFeatureExtractor.from_model_config(model.config).save_pretrained(folder)
    return folder


def assert_same_state(model, other):
    state, expected = other.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    # Also what a state dict leaves out.
    for name, value in [*model.named_buffers(), *model.named_parameters()]:
        assert torch.equal(dict([*other.named_buffers(), *other.named_parameters()])[name], value), name


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
@pytest.mark.parametrize("choices", ARCHITECTURES)
def test_save_and_load_keeps_every_parameter_every_buffer_and_the_output(model_class, choices, tmp_path):
    model = make_model(model_class, tiny_config(**choices))
    loaded, info = model_class.from_pretrained(save(model, tmp_path), output_loading_info=True)
    assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    assert_same_state(model, loaded)
    waveform, mask = pad(random_clips([5000, 9000]))
    with torch.no_grad():
        for value, expected in zip(loaded(waveform, mask).values(), model(waveform, mask).values(), strict=True):
            assert torch.equal(value, expected)


def test_the_saved_configuration_file_is_the_root_file(tmp_path):
    save(make_model(AudioBranchModel, tiny_config()), tmp_path)
    saved = (tmp_path / "configuration_audio_branch.py").read_bytes()
    assert saved == (ROOT / "configuration_audio_branch.py").read_bytes()


def test_a_saved_folder_holds_the_code_and_nothing_else(tmp_path):
    save(make_model(AudioBranchModel, tiny_config()), tmp_path)
    not_shipped = {"__init__.py", "convert_nemo.py", "convert_parakeet.py", "model_card.py", "stranger.py"}
    code = {path.name for path in (ROOT / "modeling_audio_branch").glob("*.py")} - not_shipped
    expected = code | {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert {path.name for path in tmp_path.iterdir()} == expected


FRESH = """
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
source, target, golden = {source!r}, {target!r}, load_file({golden!r})
trust = dict(trust_remote_code=True)
config = AutoConfig.from_pretrained(source, **trust)
extractor = AutoFeatureExtractor.from_pretrained(source, **trust)
model = AutoModel.from_pretrained(source, **trust).eval()
classifier = AutoModelForAudioClassification.from_pretrained(source, **trust).eval()
assert config.d_model == 16 and model.config.custom_pipelines
clips = [golden["clip0"].numpy(), golden["clip1"].numpy()]
with torch.no_grad():
    features = extractor(clips, sampling_rate=16000, return_tensors="pt")
    result = dict(
        extracted=model(**features).segment_features,
        raw=model(golden["clip0"][None]).segment_features,
        encoded=model.encode(clips, sampling_rate=16000).segment_features,
        logits=classifier(**features).logits,
    )
for name, value in result.items():
    if name in golden:
        assert torch.equal(value, golden[name]), name
model_to_save = {model_to_save}
model_to_save.save_pretrained(target)
extractor.save_pretrained(target)
embed = pipeline("audio-segment-embedding", model=source, **trust)
assert embed(clips[0], sampling_rate=16000)["segment_features"].shape == (4, 12)
pipeline("feature-extraction", model=target, **trust)(dict(array=clips[0], sampling_rate=16000))
pipeline("audio-classification", model=target, **trust)(dict(array=clips[0], sampling_rate=16000))
print("loaded")
"""


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_a_checkpoint_loads_and_saves_again_in_a_fresh_process_without_the_package(model_class, tmp_path):
    """Either kind of checkpoint opens with all four Auto classes, equal to the bit; so does what they save."""
    choices = {"subsampling_factor": 4, "position_embedding": "relative", "conv_norm": "batch"}
    model = make_model(model_class, tiny_config(**choices, num_labels=3))
    save(model, tmp_path / "first")
    clip0, clip1 = random_clips([4000, 7777])
    extractor = AudioBranchFeatureExtractor.from_model_config(model.config)
    features = extractor([clip0, clip1], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        golden = {
            "clip0": clip0,
            "clip1": clip1,
            "extracted": model.base_model(**features).segment_features,
            "raw": model.base_model(clip0[None]).segment_features,
            "encoded": model.base_model.encode([clip0, clip1], sampling_rate=16000).segment_features,
        }
        if model_class is AudioBranchForAudioClassification:
            golden["logits"] = model(**features).logits
    save_file(golden, tmp_path / "golden.safetensors")
    names = {"golden": str(tmp_path / "golden.safetensors")}
    names["model_to_save"] = "model" if model_class is AudioBranchModel else "classifier"
    for source, target in (("first", "second"), ("second", "third")):
        names |= {"source": str(tmp_path / source), "target": str(tmp_path / target)}
        assert run_fresh(FRESH.format(**names), tmp_path).endswith("loaded\n")
        for path in (tmp_path / source).iterdir():
            assert path.read_bytes() == (tmp_path / target / path.name).read_bytes(), path.name
    assert_same_state(model, model_class.from_pretrained(tmp_path / "third"))


def test_the_package_registers_its_classes_with_the_auto_classes(tmp_path):
    save(make_model(AudioBranchForAudioClassification, tiny_config()), tmp_path)
    assert isinstance(AutoModel.from_pretrained(tmp_path), AudioBranchModel)
    classifier = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert isinstance(classifier, AudioBranchForAudioClassification)
    assert isinstance(AutoFeatureExtractor.from_pretrained(tmp_path), AudioBranchFeatureExtractor)


def test_a_pipeline_saves_a_loadable_repository(tmp_path):
    save(make_model(AudioBranchModel, tiny_config()), tmp_path / "first")
    embed = pipeline("audio-segment-embedding", model=str(tmp_path / "first"), trust_remote_code=True)
    embed.save_pretrained(tmp_path / "second")
    code = f"""
    from transformers import pipeline
    embed = pipeline("audio-segment-embedding", model={str(tmp_path / "second")!r}, trust_remote_code=True)
    print(embed(dict(array=[0.5, -0.5] * 4000, sampling_rate=16000))["segment_features"].shape)
    """
    assert run_fresh(code, tmp_path) == "(4, 12)\n"


def test_arrays_need_neither_soundfile_nor_torchaudio_and_files_say_so(tmp_path):
    save(make_model(AudioBranchModel, tiny_config()), tmp_path / "checkpoint")
    code = f"""
    import sys
    sys.modules["soundfile"] = None
    from transformers import AutoModel
    model = AutoModel.from_pretrained({str(tmp_path / "checkpoint")!r}, trust_remote_code=True)
    sys.modules["torchaudio"] = sys.modules["torchaudio.functional"] = None
    print(tuple(model.encode([0.5, -0.5] * 4000, sampling_rate=16000).segment_features.shape))
    for bad in ("a.wav", dict(array=[0.5] * 100, sampling_rate=8000)):
        try:
            model.encode(bad)
        except ImportError as error:
            print(error)
    """
    shape, file, rate = run_fresh(code, tmp_path).splitlines()
    assert shape == "(4, 12)"
    assert "reading it needs soundfile: pip install soundfile" in file
    assert "needs torchaudio: pip install torchaudio" in rate


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loads_with_an_exact_front_end(dtype, tmp_path):
    config = tiny_config(conv_norm="batch", subsampling_factor=2)
    model = make_model(AudioBranchModel, config)
    half = AudioBranchModel.from_pretrained(save(model, tmp_path), dtype=dtype)
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    for name, value in model.log_mel.named_buffers():
        assert torch.equal(getattr(half.log_mel, name), value)
    waveform, mask = pad(random_clips([5000, 9000]))
    with torch.no_grad():
        expected, output = model(waveform, mask).segment_features, half(waveform, mask).segment_features
    assert output.dtype == dtype
    assert torch.nn.functional.cosine_similarity(output.float(), expected, dim=-1).min() > 0.99


def test_a_device_map_and_the_meta_device_work(tmp_path):
    model = make_model(AudioBranchModel, tiny_config(conv_norm="batch", position_embedding="relative"))
    placed = AudioBranchModel.from_pretrained(save(model, tmp_path), device_map="auto")
    assert_same_state(model, placed)
    with torch.device("meta"):
        empty = AudioBranchModel(model.config)
    assert all(parameter.is_meta for parameter in empty.parameters())
    empty.to_empty(device="cpu").load_state_dict(model.state_dict())
    assert_same_state(model, empty)


def test_a_checkpoint_with_a_missing_weight_never_passes_silently(tmp_path):
    save(make_model(AudioBranchModel, tiny_config()), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["encoder.layers.0.self_attn.qkv_proj.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    _, info = AudioBranchModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {"encoder.layers.0.self_attn.qkv_proj.weight"}


def test_a_failed_save_leaves_no_half_written_folder(tmp_path):
    model = make_model(AudioBranchModel, tiny_config())
    model.config.d_model = 17
    with pytest.raises(Exception, match="d_model=17"):
        model.save_pretrained(tmp_path / "checkpoint")
    assert not list((tmp_path / "checkpoint").glob("*"))

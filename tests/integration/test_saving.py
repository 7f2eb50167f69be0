"""A saved checkpoint loads bit for bit, also in a fresh process without the package, and can be saved there again."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.dynamic_module_utils import custom_object_save

from helpers.fresh_process import run_fresh
from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchClassificationPipeline,
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
    AudioFeatureExtractionPipeline,
    AudioSegmentEmbeddingPipeline,
)
from modeling_audio_branch.sentence_transformers_files import FILES

PACKAGE = Path(__file__).parents[2] / "modeling_audio_branch"
ARCHITECTURES = [
    {},
    {"subsampling_factor": 8, "position_embedding": "relative", "conv_norm": "batch"},
    {"pooling_type": "learnable", "use_weighted_layer_sum": True, "use_bias": False},
    {"segmentation": "learned"},
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


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_files(folder, expected):
    saved = contents(folder)
    assert saved.keys() == expected.keys()
    for name, data in expected.items():
        assert saved[name] == data, name


def test_a_saved_folder_holds_the_code_and_nothing_else(tmp_path):
    saved = contents(save(make_model(AudioBranchModel, tiny_config()), tmp_path))
    code = {path.name: path.read_bytes() for path in PACKAGE.glob("[a-z]*.py")}
    assert saved.keys() == code.keys() | {"config.json", "model.safetensors", "preprocessor_config.json", *FILES}
    assert {name: saved[name] for name in code} == code


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_the_order_of_saving_changes_no_file(model_class, tmp_path):
    model = make_model(model_class, tiny_config())
    parts = {
        "config": model.config,
        "model": model,
        "extractor": AudioBranchFeatureExtractor.from_model(model),
    }
    expected = contents(save(model, tmp_path / "expected"))
    for order in (["extractor", "model"], ["config", "model", "extractor"], ["model", "extractor", "config", "model"]):
        for name in order:
            parts[name].save_pretrained(tmp_path / "-".join(order))
        assert_same_files(tmp_path / "-".join(order), expected)


FRESH = """
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
trust = dict(trust_remote_code=True)
for source, target, golden, to_save in {jobs!r}:
    golden = load_file(golden)
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
    parts = [dict(model=model, classifier=classifier)[to_save], extractor]
    for part in parts:
        part.save_pretrained(target)
    for part in reversed(parts):  # over the very files that were loaded
        part.save_pretrained(source)
    embed = pipeline("audio-segment-embedding", model=source, **trust)
    assert embed(clips[0], sampling_rate=16000)["segment_features"].shape == (4, 12)
    pipeline("feature-extraction", model=target, **trust)(dict(array=clips[0], sampling_rate=16000))
    pipeline("audio-classification", model=target, **trust)(dict(array=clips[0], sampling_rate=16000))
    print("loaded")
"""


def golden_outputs(model):
    """Two clips and what the model makes of them."""
    clip0, clip1 = random_clips([4000, 7777])
    features = AudioBranchFeatureExtractor.from_model_config(model.config)(
        [clip0, clip1], sampling_rate=16000, return_tensors="pt"
    )
    with torch.no_grad():
        golden = {
            "clip0": clip0,
            "clip1": clip1,
            "extracted": model.base_model(**features).segment_features,
            "raw": model.base_model(clip0[None]).segment_features,
            "encoded": model.base_model.encode([clip0, clip1], sampling_rate=16000).segment_features,
        }
        if model is not model.base_model:
            golden["logits"] = model(**features).logits
    return golden


def test_a_checkpoint_loads_and_saves_again_in_a_fresh_process_without_the_package(tmp_path):
    """Both kinds of checkpoint load with all four Auto classes, bit for bit; so does what is saved from there."""
    choices = {"subsampling_factor": 4, "position_embedding": "relative", "conv_norm": "batch"}
    models = {
        "model": make_model(AudioBranchModel, tiny_config(**choices, num_labels=3)),
        "classifier": make_model(AudioBranchForAudioClassification, tiny_config(**choices, num_labels=3)),
    }
    expected = {}
    for kind, model in models.items():
        expected[kind] = contents(save(model, tmp_path / f"first_{kind}"))
        save_file(golden_outputs(model), tmp_path / f"{kind}.safetensors")
    for source, target in (("first", "second"), ("second", "third")):
        jobs = [
            (*(str(tmp_path / f"{name}_{kind}") for name in (source, target)), f"{tmp_path / kind}.safetensors", kind)
            for kind in models
        ]
        assert run_fresh(FRESH.format(jobs=jobs), tmp_path).endswith("loaded\nloaded\n")
        for kind in models:
            assert_same_files(tmp_path / f"{source}_{kind}", expected[kind])
            assert_same_files(tmp_path / f"{target}_{kind}", expected[kind])
    for kind, model in models.items():
        assert_same_state(model, type(model).from_pretrained(tmp_path / f"third_{kind}"))


def test_the_package_registers_its_classes_with_the_auto_classes(tmp_path):
    save(make_model(AudioBranchForAudioClassification, tiny_config()), tmp_path)
    assert isinstance(AutoModel.from_pretrained(tmp_path), AudioBranchModel)
    classifier = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert isinstance(classifier, AudioBranchForAudioClassification)
    assert isinstance(AutoFeatureExtractor.from_pretrained(tmp_path), AudioBranchFeatureExtractor)


EVERY_WAY = """
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module
golden = load_file({golden!r})
clip, expected = golden["clip"], golden["expected"]
trust = dict(trust_remote_code=True)
for folder, parts in {folders!r}.items():
    if "config" in parts:
        assert AutoConfig.from_pretrained(folder, **trust).d_model == 16
    if "extractor" in parts:
        extractor = AutoFeatureExtractor.from_pretrained(folder, **trust)
        assert extractor(clip, sampling_rate=16000)["input_features"][0].shape == (26, 20)
    if "model" in parts:
        model = AutoModel.from_pretrained(folder, **trust).eval()
        assert torch.equal(model.encode(clip, sampling_rate=16000).segment_features, expected), folder
    if "classifier" in parts:
        AutoModelForAudioClassification.from_pretrained(folder, **trust)
    if "pipeline" in parts:
        embed = pipeline("audio-segment-embedding", model=folder, **trust)
        print(embed(dict(array=[0.5, -0.5] * 4000, sampling_rate=16000))["segment_features"].shape)
    for name in parts:
        if name.endswith("Pipeline"):
            assert get_class_from_dynamic_module("pipeline_audio_branch." + name, folder).__name__ == name
"""


def test_every_way_of_saving_gives_what_loads_in_a_fresh_process(tmp_path):
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    extractor = AudioBranchFeatureExtractor.from_model(model)
    parts = {"config": model.config, "extractor": extractor, "model": model.base_model, "classifier": model}
    clip = random_clips([4000])[0]
    golden = {"clip": clip, "expected": model.base_model.encode(clip, sampling_rate=16000).segment_features}
    save_file(golden, tmp_path / "golden.safetensors")

    # Each way by itself, and what the folder then holds.
    folders = {"trainer": [*parts, "pipeline"], "pipeline": [*parts, "pipeline"]}
    for name, part in parts.items():
        part.save_pretrained(tmp_path / f"{name}_alone")
        folders[f"{name}_alone"] = ["extractor"] if name == "extractor" else ["config"]
        if name in ("model", "classifier"):
            folders[f"{name}_alone"] += ["model", "classifier"]
    arguments = TrainingArguments(tmp_path / "training", report_to="none", use_cpu=True)
    Trainer(model, arguments, processing_class=extractor).save_model(tmp_path / "trainer")
    embed = pipeline("audio-segment-embedding", model=str(tmp_path / "trainer"), trust_remote_code=True)
    embed.save_pretrained(tmp_path / "pipeline")

    # The code of each class by itself, next to the files that are not code.
    without_code = tmp_path / "without_code"
    shutil.copytree(tmp_path / "trainer", without_code, ignore=shutil.ignore_patterns("*.py"))
    needed = {
        AudioBranchConfig: ["config"],
        AudioBranchFeatureExtractor: ["extractor"],
        AudioBranchModel: ["config", "model", "classifier"],
        AudioBranchForAudioClassification: ["config", "model", "classifier"],
    }
    pipelines = AudioSegmentEmbeddingPipeline, AudioFeatureExtractionPipeline, AudioBranchClassificationPipeline
    for saved in (*needed, *pipelines):
        folder = f"code_of_{saved.__name__}"
        shutil.copytree(without_code, tmp_path / folder)
        custom_object_save(saved, tmp_path / folder)
        folders[folder] = needed.get(saved, [saved.__name__])

    folders = {str(tmp_path / folder): holds for folder, holds in folders.items()}
    code = EVERY_WAY.format(golden=str(tmp_path / "golden.safetensors"), folders=folders)
    assert run_fresh(code, tmp_path) == "(4, 12)\n(4, 12)\n"


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
    for name, value in model.front_end.log_mel.named_buffers():
        assert torch.equal(getattr(half.front_end.log_mel, name), value)
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

"""NeMo archives, configurations and results: whatever is in a file, it loads, or one sentence says why not."""

import gzip
import io
import json
import tarfile

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given
from hypothesis import strategies as st
from transformers.utils import logging

from helpers.fuzzing import ANSWERS, fuzz, loads_or_says_why, mutations
from helpers.models import tiny_config
from helpers.nemo_archives import NEMO
from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.hub.results import read_results

RESULTS = {
    "dataset": {"name": "a", "license": "mit", "language": ["en"], "id": "user/name"},
    **{"protocol": "p", "folds": 6, "interval": "i", "hardware": "h", "date": "2026-11-23", "seeds": [0]},
    "metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
    "training_data": {"name": "b", "license": "mit"},
    "versions": {"torch": "2"},
    "base_model": "user/name",
}


@pytest.fixture(autouse=True)
def quiet():
    logging.set_verbosity_error()
    yield
    logging.set_verbosity_warning()


def small_archive(compress):
    """A NeMo archive of 200 kB, by its members: (name, content)."""
    with tarfile.open(NEMO / "nest_pre_conv/model.nemo") as source:
        members = [(member.name, source.extractfile(member).read()) for member in source if member.isreg()]
    return members, compress


def pack(members, compress):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue(), 1) if compress else file.getvalue()


MEMBERS, _ = small_archive(False)
ARCHIVES = [pack(MEMBERS, False), pack(MEMBERS, True)]
CONFIGS = [content for name, content in MEMBERS if name.endswith("model_config.yaml")]
WEIGHTS = [content for name, content in MEMBERS if name.endswith("model_weights.ckpt")]


def load_nemo(path):
    model = AudioBranchModel.from_nemo(path)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    return model


@pytest.mark.parametrize("part", ["archive", "config", "weights"])
@given(data=st.data())
@fuzz(250)
def test_a_mutated_nemo_archive_loads_or_is_refused_in_a_sentence(part, data, tmp_path):
    if part == "archive":
        content = data.draw(mutations(ARCHIVES))
    else:
        changed = data.draw(mutations(CONFIGS if part == "config" else WEIGHTS))
        suffix = "model_config.yaml" if part == "config" else "model_weights.ckpt"
        members = [(name, changed if name.endswith(suffix) else old) for name, old in MEMBERS]
        content = pack(members, data.draw(st.booleans()))
    path = tmp_path / "model.nemo"
    path.write_bytes(content)
    loads_or_says_why(load_nemo, path)


LARGE = [2**31, -(2**31), 2**63, 2**64, -(10**30), 10**400, 10**4000, 1e39, -1e308]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.sampled_from(LARGE)
    | st.floats()
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
values |= st.sampled_from(["x" * 10**4, "\ud800", "a\nb", [1] * 3000])


def nested(levels):
    """JSON of many levels, as text."""
    return b'{"dropout": ' + b"[" * levels + b"]" * levels + b"}"


@st.composite
def changed_json(draw, original, other_names=()):
    """JSON with some values replaced by anything, as text of many levels or a few changed bytes now and then.

    Other names get values too, with which a file could replace a method or what Transformers knows of.
    """
    if draw(st.integers(0, 99)) == 0:
        return nested(draw(st.sampled_from([100, 500, 3000])))
    settings = json.loads(json.dumps(original))
    if other_names and draw(st.integers(0, 3)) == 0:
        settings[draw(st.sampled_from(other_names))] = draw(values)
    for _ in range(draw(st.integers(1, 3))):
        owner = settings
        while True:
            key = draw(st.sampled_from(sorted(owner)))
            if not (isinstance(owner[key], dict) and owner[key] and draw(st.booleans())):
                break
            owner = owner[key]
        if draw(st.integers(0, 9)):
            owner[key] = draw(values)
        else:
            del owner[key]
        if not settings or not owner:
            break
    text = json.dumps(settings).encode()
    return draw(mutations([text])) if draw(st.integers(0, 3)) == 0 else text


OTHER_NAMES = [
    "num_labels",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "torch_dtype",
    "name_or_path",
    "attribute_map",
]
OTHER_NAMES += ["_adapter", "_log_mels", "model_input_names", "padding_side", "processor_class", "per_layer_config"]
CONFIG = tiny_config(subsampling_factor=4).to_dict()
FIXED = {"normalize": "fixed", "normalize_mean": [0.0] * 20, "normalize_deviation": [1.0] * 20}
NAMES = [*dir(AudioBranchConfig), *OTHER_NAMES]
CONFIGURATIONS = changed_json(CONFIG, NAMES) | changed_json(CONFIG | FIXED, NAMES)


@given(content=CONFIGURATIONS)
@fuzz(1200)
def test_a_mutated_configuration_loads_or_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    try:
        config = AudioBranchConfig.from_pretrained(tmp_path)
    except (*ANSWERS, StrictDataclassError) as error:  # huggingface_hub puts our sentence on a second line
        assert str(error).strip()
        return
    config.validate()
    json.dumps(config.to_dict())


EXTRACTOR = AudioBranchFeatureExtractor(feature_size=20).to_dict()


@given(content=changed_json(EXTRACTOR, [*dir(AudioBranchFeatureExtractor), *OTHER_NAMES]))
@fuzz(1200)
def test_a_mutated_extractor_makes_finite_features_or_is_refused(content, tmp_path):
    (tmp_path / "preprocessor_config.json").write_bytes(content)

    def extract():
        extractor = AudioBranchFeatureExtractor.from_pretrained(tmp_path)
        return extractor(torch.zeros(2000).sin(), sampling_rate=16000, return_tensors="pt")["input_features"]

    features = loads_or_says_why(extract)
    assert features is None or features.isfinite().all()


@given(content=changed_json(RESULTS))
@fuzz(1200)
def test_mutated_results_are_read_or_refused_in_a_sentence(content, tmp_path):
    (tmp_path / "results.json").write_bytes(content)
    results = loads_or_says_why(read_results, tmp_path / "results.json")
    assert results is None or results.metrics

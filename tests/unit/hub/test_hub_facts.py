"""What is measured of a model before the upload."""

import pytest
import torch

from helpers.encoders import make
from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.hub.facts import golden_output, measure


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_the_golden_output_is_the_models_and_repeatable(model_class):
    model = make_model(model_class, tiny_config())
    golden, again = golden_output(model), golden_output(model)
    assert golden.keys() == again.keys() and all(torch.equal(golden[name], again[name]) for name in golden)
    clips, mask = golden["clips"], golden["mask"]
    assert clips.shape == (2, 16000) and mask.sum(1).tolist() == [16000, 9600] and not clips[1, 9600:].any()
    with torch.no_grad():
        out = model(clips, attention_mask=mask)
    name = "logits" if model_class is AudioBranchForAudioClassification else "segment_features"
    assert torch.equal(golden[name], out[name]) and ("logits" in golden) == (name == "logits")


def test_the_facts_of_a_model():
    model = make_model(AudioBranchForAudioClassification, tiny_config(subsampling_factor=4))
    facts = measure(model, "alice/tiny", golden_output(model))
    assert (facts.name, facts.encoder, facts.is_classifier, facts.dtype) == (
        "tiny",
        "2-layer Conformer",
        True,
        "float32",
    )
    assert facts.frames_per_second == 25 and facts.parameters == model.num_parameters()
    assert facts.padding_gap <= 1e-5 and facts.tolerance == 1e-4 and facts.max_seconds is None
    assert facts.versions.keys() == {"audio-branch", "torch", "transformers", "Python"}


def test_an_encoder_of_short_clips_is_measured_on_such():
    model = make("whisper")
    facts = measure(model, "alice/tiny", golden_output(model))
    assert facts.max_seconds == 2 and facts.frames_per_second == 50


def test_half_precision_has_a_tolerance_of_its_own():
    model = make_model(AudioBranchModel, tiny_config()).half()
    golden = golden_output(model)
    assert golden["segment_features"].dtype == torch.float32
    facts = measure(model, "alice/tiny", golden)
    assert facts.dtype == "float16" and facts.tolerance == 5e-2 and not facts.is_classifier

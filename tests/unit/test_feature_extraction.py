"""The feature extractor: padding, truncation and collation, which leave the input as it is."""

import numpy as np
import pytest
import torch

from helpers.encoders import make
from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel

RATE = 16000


@pytest.fixture
def extractor():
    return AudioBranchFeatureExtractor()


def test_the_extractor_pads_truncates_and_leaves_alone(extractor):
    clips = random_clips([1600, 4800])
    longest = extractor(clips, sampling_rate=RATE, return_tensors="pt")
    assert longest["input_features"].shape == (2, 31, 80)
    assert longest["attention_mask"].sum(-1).tolist() == [10, 30]
    fixed = extractor(clips, RATE, padding="max_length", max_length=3200, truncation=True, return_tensors="np")
    assert fixed["input_features"].shape == (2, 21, 80)
    assert fixed["attention_mask"].sum(-1).tolist() == [10, 20]
    multiple = extractor(clips, RATE, pad_to_multiple_of=16000, return_tensors="pt")
    assert multiple["input_features"].shape == (2, 101, 80)
    unpadded = extractor(clips, RATE, padding=False)
    assert [len(features) for features in unpadded["input_features"]] == [11, 31]
    np.testing.assert_allclose(unpadded["input_features"][0][:10], longest["input_features"][0, :10], atol=1e-5)
    assert "attention_mask" not in extractor(clips, RATE, return_attention_mask=False)


def test_pad_collates_separately_extracted_clips_into_the_same_batch(extractor):
    clips = random_clips([1600, 4800, 3333])
    rows = []
    for clip in clips:
        features = extractor(clip, sampling_rate=RATE)
        rows.append({name: value[0] for name, value in features.items()})
    padded, together = extractor.pad(rows, return_tensors="pt"), extractor(clips, RATE, return_tensors="pt")
    torch.testing.assert_close(padded["input_features"], together["input_features"], atol=1e-5, rtol=0)
    assert torch.equal(padded["attention_mask"], together["attention_mask"])


def test_left_padding_is_refused():
    with pytest.raises(ValueError, match="pads on the 'right' only"):
        AudioBranchFeatureExtractor(padding_side="left")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"padding_value": -(10**4000)}, "padding_value=-1000"),
        ({"padding_value": 10**5000}, "padding_value=a number of thousands of digits was given; give a finite number"),
        ({"padding_value": 1e308}, "padding_value=1e+308 was given; give a finite number"),
        ({"custom_window": [10**400] * 400}, "custom_window is not an array of finite numbers"),
        ({"_adapter": True}, "has no setting '_adapter'; leave it out"),
        ({"pad": 3}, "has no setting 'pad'; leave it out"),
        ({"model_input_names": []}, "model_input_names=[] is impossible; give ['input_features', 'attention_mask']"),
        ({"padding_side": "x" * 10**4}, "pads on the 'right' only"),
        ({"normalize": "\ud800"}, "has an impossible setting"),
    ],
)
def test_an_impossible_setting_is_refused_in_a_sentence(setting, sentence):
    with pytest.raises(ValueError) as raised:
        AudioBranchFeatureExtractor(**setting)
    assert sentence in str(raised.value) and len(str(raised.value)) < 400
    str(raised.value).encode()


def test_settings_of_many_levels_are_refused(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(f'{{"padding_value": {"[" * 10**5}{"]" * 10**5}}}')
    with pytest.raises(ValueError, match="too many levels"):
        AudioBranchFeatureExtractor.from_pretrained(tmp_path)


def test_a_padding_value_beyond_the_integers_of_torch_is_one_of_floats():
    extractor = AudioBranchFeatureExtractor(padding_value=2**64)
    features = extractor([torch.ones(800), torch.ones(400)], sampling_rate=16000, return_tensors="pt")
    assert features["input_features"][1, -1, 0] == 2.0**64


@pytest.mark.parametrize("other", [None, "ast"])
def test_the_lengths_on_request_are_those_of_the_mask_and_go_to_the_model_with_it(other):
    model = make(other) if other else make_model(AudioBranchModel, tiny_config())
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = random_clips([9000, 16000, 100])
    batch = extractor(clips, sampling_rate=RATE, return_tensors="pt", return_lengths=True)
    assert batch["lengths"] == batch["attention_mask"].sum(-1).tolist() and "lengths" not in extractor(clips, RATE)
    with torch.no_grad():
        expected = model(batch[extractor.model_input_names[0]], attention_mask=batch["attention_mask"])
        if other is None:
            assert torch.equal(model(**batch).segment_features, expected.segment_features)


def test_no_input_is_modified(extractor):
    array = random_clips([4000])[0].numpy()
    before = array.copy()
    extractor([array, {"array": array, "sampling_rate": 8000}], sampling_rate=RATE)
    assert np.array_equal(array, before)

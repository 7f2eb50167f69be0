"""The feature extractor: padding, truncation and collation, which leave the input as it is."""

import numpy as np
import pytest
import torch

from helpers.models import random_clips
from modeling_audio_branch import AudioBranchFeatureExtractor

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


def test_no_input_is_modified(extractor):
    array = random_clips([4000])[0].numpy()
    before = array.copy()
    extractor([array, {"array": array, "sampling_rate": 8000}], sampling_rate=RATE)
    assert np.array_equal(array, before)

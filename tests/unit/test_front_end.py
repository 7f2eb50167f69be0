"""Both front ends have one interface, and fit the feature extractor that they describe."""

import inspect

import pytest
import torch

from helpers.encoders import ENCODERS, make
from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.front_end import FeatureExtractorFrontEnd, LogMelFrontEnd, make_front_end


def test_both_front_ends_have_one_interface():
    fronts = (LogMelFrontEnd, FeatureExtractorFrontEnd)
    for name in ("forward", "check_lengths", "extractor_kwargs"):
        first, second = (inspect.signature(getattr(front, name)).parameters for front in fronts)
        assert list(first) == list(second), name
    made = [make_front_end(config) for config in (tiny_config(), AudioBranchConfig(encoder_config=ENCODERS["ast"]()))]
    for front in made:
        assert front.seconds_per_frame > 0 and isinstance(front.can_stream, bool) and front.remote_code == ()
    assert [type(front) for front in made] == list(fronts)
    assert made[0].max_samples is None and made[1].max_samples == 33679


@pytest.mark.parametrize("name", ["ours", *ENCODERS])
def test_raw_audio_gives_what_the_described_feature_extractor_gives(name):
    model = make_model(AudioBranchModel, tiny_config()) if name == "ours" else make(name)
    clips = random_clips([16000, 9000])
    extractor = AudioBranchFeatureExtractor(**model.front_end.extractor_kwargs())
    features = extractor([clip.numpy() for clip in clips], sampling_rate=16000, return_tensors="pt")
    inputs, mask, _ = model.front_end(pad(clips)[0], attention_mask=pad(clips)[1])
    expected, expected_mask, _ = model.front_end(**features)
    frames = mask.shape[1]
    assert expected_mask.sum() == mask.sum()  # the extractor pads some encoders' frames to the samples of the batch
    assert torch.equal(mask, expected_mask[:, :frames])
    if expected.shape != inputs.shape:
        expected = expected[:, :frames]
    torch.testing.assert_close(inputs, expected, atol=1e-6, rtol=0)


def test_a_clip_in_blocks_gives_the_frames_of_the_whole_clip():
    front = LogMelFrontEnd(tiny_config())
    clip = random_clips([9000])[0]
    frames = torch.cat([*front.stream(clip.split([1, 500, 7, 4000, 4492]))])
    expected, mask, _ = front(clip[None])
    torch.testing.assert_close(frames, expected[mask], atol=1e-5, rtol=0)

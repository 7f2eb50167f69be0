"""The law of the two doors: raw audio and the feature extractor's log-mel frames give the same numbers."""

import torch
from hypothesis import given

from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import architectures, lengths
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel


@given(architectures, lengths)
def test_the_raw_door_equals_the_extractor_door(choices, lengths):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    extractor = AudioBranchFeatureExtractor.from_model_config(model.config)
    clips = random_clips(lengths)
    waveform, mask = pad(clips)
    with torch.no_grad():
        raw = model(waveform, attention_mask=mask)
        named = model(input_values=waveform, attention_mask=mask)
        extracted = model(**extractor(clips, sampling_rate=16000, return_tensors="pt"))
    for name, expected in raw.items():
        torch.testing.assert_close(extracted[name], expected, atol=1e-6, rtol=0, msg=name)
        torch.testing.assert_close(named[name], expected, atol=0, rtol=0, msg=name)

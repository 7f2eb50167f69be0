"""Other feature extractors: every form of audio, fixed lengths, masks, sampling rates."""

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F
from transformers import (
    ClapFeatureExtractor,
    DataCollatorWithPadding,
    Wav2Vec2FeatureExtractor,
)

from helpers.encoders import ENCODERS, SMALL, make
from helpers.models import random_clips
from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
)
from modeling_audio_branch.feature_extractor_adapter import FeatureExtractorAdapter


@pytest.mark.parametrize("name", ENCODERS)
def test_the_extractor_takes_every_form_of_audio(name, tmp_path):
    extractor = AudioBranchFeatureExtractor.from_model_config(AudioBranchConfig(encoder_config=ENCODERS[name]()))
    samples = (random_clips([9000])[0] * 2**14).to(torch.int16).numpy()
    soundfile.write(tmp_path / "clip.wav", samples, 16000)
    expected = extractor(samples.astype(np.float32) / 2**15, sampling_rate=16000, return_tensors="pt")
    forms = [
        str(tmp_path / "clip.wav"),
        (tmp_path / "clip.wav").read_bytes(),
        {"array": samples, "sampling_rate": 16000},
        {"array": np.stack([samples, samples]), "sampling_rate": 16000},
    ]
    for form in forms:
        got = extractor(form, return_tensors="pt")
        for key, value in expected.items():
            torch.testing.assert_close(got[key], value, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="pass sampling_rate="):
        extractor(samples)
    longer = extractor(samples, sampling_rate=16000, padding="max_length", max_length=16000, return_tensors="pt")
    assert torch.equal(longer["attention_mask"].sum(-1), expected["attention_mask"].sum(-1))


@pytest.mark.parametrize("name", ENCODERS)
def test_trainers_collator_pads_the_extractors_rows(name):
    model = make(name)
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = random_clips([9000, 20000])
    rows = [{k: v[0] for k, v in extractor(clip, sampling_rate=16000).items()} for clip in clips]
    batch = DataCollatorWithPadding(extractor)(rows)
    expected = extractor(clips, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        got, expected = model(**batch), model(**expected)
    torch.testing.assert_close(got.segment_features, expected.segment_features, atol=1e-5, rtol=0)
    assert torch.equal(got.segment_mask, expected.segment_mask)


def test_segments_of_a_fixed_length_encoder_cover_the_clip_and_not_the_padding():
    for name in ("whisper", "ast"):
        model = make(name, pooling_type="avg", use_temporal_encoding=False)
        clip = random_clips([16000])[0]
        with torch.no_grad():
            output = model(clip[None])
            frames = int(output.attention_mask.sum())
            pooled = F.adaptive_avg_pool1d(output.last_hidden_state[:, :frames].transpose(1, 2), 4).transpose(1, 2)
            torch.testing.assert_close(output.segment_features, model.projection(pooled))
        assert frames < 0.6 * output.attention_mask.shape[1]


def test_a_clip_too_long_for_the_encoder_is_refused_by_its_number():
    model = make("whisper")
    extractor = AudioBranchFeatureExtractor.from_model(model)
    clips = [clip.numpy() for clip in random_clips([9000, 40000, 8000])]
    for call in (lambda: extractor(clips, sampling_rate=16000), lambda: model.encode(clips, sampling_rate=16000)):
        with pytest.raises(ValueError, match=r"^Clip 1 of the batch is 40000 samples .* at most 32000; cut it"):
            call()
    cut = extractor(clips, sampling_rate=16000, truncation=True, return_tensors="pt")
    assert cut["attention_mask"].sum(-1).tolist() == [57, 200, 50]


@pytest.mark.parametrize(("name", "limit"), [("whisper", 32000), ("ast", 400 + 208 * 160 - 1)])
def test_a_clip_of_just_the_greatest_length_passes(name, limit):
    extractor = AudioBranchFeatureExtractor.from_model_config(AudioBranchConfig(encoder_config=ENCODERS[name]()))
    rows = extractor(random_clips([limit, 9000]), sampling_rate=16000, padding=False)
    key = next(iter(rows))
    assert rows[key][0].shape == rows[key][1].shape  # such encoders are not given less, padded or not
    assert rows["attention_mask"][0].all()
    with pytest.raises(ValueError, match=f"at most {limit}"):
        extractor(random_clips([limit + 1]), sampling_rate=16000)


def test_an_extractor_that_makes_no_mask_is_refused():
    features = FeatureExtractorAdapter(ClapFeatureExtractor(truncation="rand_trunc"))
    with pytest.raises(ValueError, match="makes no attention_mask"):
        features([torch.zeros(16000)])


def test_an_encoder_at_another_sampling_rate_gets_audio_at_that_rate():
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=False)
    config = AudioBranchConfig(encoder_config=ENCODERS["wav2vec2"](), encoder_extractor=extractor.to_dict(), **SMALL)
    assert config.sample_rate == 8000
    made = AudioBranchFeatureExtractor.from_model_config(config)
    assert made.sampling_rate == 8000
    assert made(random_clips([16000])[0], sampling_rate=16000, return_tensors="pt")["input_values"].shape == (1, 8000)

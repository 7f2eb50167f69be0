"""Parakeet checkpoints in Transformers' format as our own encoder."""

import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    ParakeetEncoder,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from helpers.assertions import assert_same_clips
from helpers.fresh_process import run_fresh
from helpers.models import pad, random_clips
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.convert.parakeet import encoder_settings

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SMALL = {"num_segments": 4, "feature_dim": 12, "num_heads": 2}


@pytest.fixture(scope="module")
def parakeet(tmp_path_factory):
    """A Parakeet repository with its encoder, whose every parameter and statistic is random."""
    folder = tmp_path_factory.mktemp("parakeet")
    torch.manual_seed(2)
    config = ParakeetEncoderConfig(**SIZES, subsampling_conv_channels=8, num_mel_bins=40)
    encoder = ParakeetEncoder(config)
    with torch.no_grad():
        for key, value in encoder.state_dict().items():
            if value.is_floating_point():
                value += 0.1 * torch.rand_like(value) if "running_var" in key else 0.1 * torch.randn_like(value)
    encoder.eval().save_pretrained(folder)
    ParakeetFeatureExtractor(feature_size=40).save_pretrained(folder)
    return folder, encoder


def test_a_parakeet_checkpoint_becomes_our_own_encoder_with_the_same_frames(parakeet):
    folder, encoder = parakeet
    model = AudioBranchModel.from_parakeet(folder, **SMALL)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    clips = random_clips([16000, 40000, 7000])
    inputs = extractor([clip.numpy() for clip in clips], sampling_rate=16000, return_tensors="pt")
    waveform, mask = pad(clips)
    with torch.no_grad():
        expected = encoder(**inputs)
        for output in (model(waveform, mask), model(**inputs)):
            assert torch.equal(output.attention_mask, expected.attention_mask[:, : output.attention_mask.shape[1]])
            valid = output.attention_mask.bool()
            got = output.last_hidden_state[valid]
            torch.testing.assert_close(got, expected.last_hidden_state[valid], atol=1e-5, rtol=0)
        assert_same_clips(model(waveform, mask), [model(clip[None]) for clip in clips])


def test_from_parakeet_carries_over_the_front_end(parakeet, tmp_path):
    for file in parakeet[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = {"sampling_rate": 8000, "n_fft": 256, "hop_length": 80, "win_length": 200, "preemphasis": None}
    ParakeetFeatureExtractor(feature_size=40, **settings).save_pretrained(tmp_path)
    config = AudioBranchModel.from_parakeet(tmp_path, **SMALL).config
    expected = {"sample_rate": 8000, "n_fft": 256, "hop_length": 80, "win_length": 200, "preemphasis": 0.0}
    assert {name: getattr(config, name) for name in expected} == expected and config.dropout == 0.1
    with pytest.raises(TypeError, match="variant: neither"):
        AudioBranchModel.from_parakeet(tmp_path, variant="fp16")


def test_a_converted_parakeet_needs_no_package_of_ours(parakeet, tmp_path):
    model = AudioBranchModel.from_parakeet(parakeet[0], **SMALL)
    model.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").rglob("parakeet.py"))
    code = f"""
    import torch
    from transformers import AutoModel
    model = AutoModel.from_pretrained({str(tmp_path / "saved")!r}, trust_remote_code=True)
    print(model(torch.ones(1, 16000)).last_hidden_state.shape)
    """
    assert run_fresh(code, tmp_path).strip() == "torch.Size([1, 13, 32])"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"attention_bias": False}, "convolution_bias=True"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1"),
        ({"intermediate_size": 40}, "intermediate_size=40"),
    ],
)
def test_a_parakeet_that_our_encoder_does_not_compute_is_refused_by_name(settings, named):
    with pytest.raises(ValueError, match=named):
        config = ParakeetEncoderConfig(**SIZES | settings)
        for name, value in settings.items():  # the number of key heads is overwritten when it is made
            setattr(config, name, value)
        encoder_settings(config)


def test_from_parakeet_refuses_another_encoder(tmp_path):
    convolutions = {"conv_dim": [12] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    Wav2Vec2Model(Wav2Vec2Config(**SIZES, **convolutions)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a Wav2Vec2Model .*from_encoder"):
        AudioBranchModel.from_parakeet(tmp_path)

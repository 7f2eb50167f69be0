"""Gaps between a clip alone and in a batch, of any audio model, called by Transformers or by sentence-transformers."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from helpers.encoders import CONVOLUTIONS, LAYER_NORM, SIZES, WHISPER
from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.check.batching import (
    batching_gaps,
    by_sentence_transformers,
    by_transformers,
    is_for_sentence_transformers,
    noise_clips,
)


def save(folder, model, extractor) -> str:
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)


def wav2vec2(folder, with_mask: bool) -> str:
    kind = LAYER_NORM if with_mask else {}
    model = make_model(Wav2Vec2Model, Wav2Vec2Config(**SIZES, **CONVOLUTIONS, **kind))
    return save(folder, model, Wav2Vec2FeatureExtractor(return_attention_mask=with_mask))


def largest(embed, rate) -> float:
    clips = noise_clips(rate)
    gaps = batching_gaps(embed, clips, rate)
    assert [gap.seconds for gap in gaps] == [len(clip) / rate for clip in clips]
    return max(gap.difference for gap in gaps)


def test_a_model_that_looks_at_the_padding_is_told_from_one_that_does_not(tmp_path):
    assert largest(*by_transformers(wav2vec2(tmp_path / "base", with_mask=False))) > 0.05
    assert largest(*by_transformers(wav2vec2(tmp_path / "large", with_mask=True))) < 1e-5


def test_ours_does_not_depend_on_the_batch_by_either_tool(tmp_path):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4))
    folder = save(tmp_path, model, AudioBranchFeatureExtractor.from_model(model))
    assert is_for_sentence_transformers(folder)
    for by in (by_transformers, by_sentence_transformers):
        assert largest(*by(folder, trust_remote_code=True)) < 1e-5


def test_of_a_model_with_a_decoder_the_encoder_is_checked(tmp_path):
    model = make_model(WhisperModel, WhisperConfig(**WHISPER | {"max_source_positions": 500}))
    folder = save(tmp_path, model, WhisperFeatureExtractor(feature_size=20, chunk_length=10))
    assert not is_for_sentence_transformers(folder)
    assert largest(*by_transformers(folder)) < 1e-5  # it pads every clip to one length


def test_a_model_that_looks_at_the_padding_is_told_through_sentence_transformers(tmp_path):
    config = AudioBranchConfig(encoder_config=Wav2Vec2Config(**SIZES, **CONVOLUTIONS), feature_dim=12, num_heads=2)
    model = make_model(AudioBranchModel, config)
    folder = save(tmp_path, model, AudioBranchFeatureExtractor.from_model(model))
    assert largest(*by_sentence_transformers(folder, trust_remote_code=True)) > 0.01


def test_vectors_are_compared_whole_and_frames_as_far_as_the_clip_has_them():
    clips = [clip.numpy() for clip in random_clips([10, 20])]

    def padded_frames(clips):  # frames behind the clip are padding and don't matter
        longest = max(map(len, clips))
        return [np.pad(np.ones((len(clip), 3)), ((0, longest - len(clip)), (0, 0))) for clip in clips]

    assert [gap.difference for gap in batching_gaps(padded_frames, clips, 10)] == [0, 0]
    counted = [gap.difference for gap in batching_gaps(lambda clips: [np.full(4, len(clips))] * len(clips), clips, 10)]
    assert counted == [1, 1]
    with pytest.raises(ValueError, match="8 frames alone and 7 in a batch"):
        batching_gaps(lambda clips: [np.ones((9 - len(clips), 2))] * len(clips), clips, 10)


def test_nan_no_frames_and_zeros_do_not_pass_for_equal():
    clips = [clip.numpy() for clip in random_clips([10, 20])]
    with pytest.raises(ValueError, match="NaN or infinite numbers for a clip of 1.00 s in a padded batch"):
        batching_gaps(lambda given: [np.full(4, np.nan if len(given) > 1 else 1.0)] * len(given), clips, 10)
    with pytest.raises(ValueError, match="0 frames alone"):
        batching_gaps(lambda given: [np.ones((0, 4))] * len(given), clips, 10)
    assert {gap.difference for gap in batching_gaps(lambda given: [np.zeros(4)] * len(given), clips, 10)} == {0}
    apart = batching_gaps(lambda given: [np.zeros(4) + (len(given) > 1)] * len(given), clips, 10)
    assert min(gap.difference for gap in apart) > 1


def test_a_model_without_a_feature_extractor_of_audio_is_refused(tmp_path):
    embedder = SentenceTransformer(modules=[Pooling(4)])
    embedder.save_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match="no feature extractor"):
        by_sentence_transformers(str(tmp_path))

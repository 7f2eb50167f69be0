"""Baselines that have an `encode`; those on Whisper are tested in test_phrases_teacher.py."""

import torch

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from recipes.phrases.baselines import OneSegment


def test_one_segment_is_the_mean_of_all_so_that_their_order_is_lost():
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4))
    clips = [clip.numpy() for clip in random_clips([9000, 16000])]
    found = OneSegment(model).encode(clips, sampling_rate=16000, show_progress=False).segment_features
    expected = model.encode(clips, 16000).segment_features.mean(1, keepdim=True)
    torch.testing.assert_close(found, expected)

"""SpecAugment masks spans inside the clip, in training only."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import (
    AudioBranchModel,
)
from modeling_audio_branch.spec_augment import spec_augment


@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.floats(0, 1), st.integers(0, 99), st.integers(0, 3))
def test_spec_augment_blanks_spans_inside_the_clip(lengths, ratio, width, count):
    config = tiny_config(
        time_mask_ratio=ratio, freq_mask_width=width, num_time_masks=count, num_freq_masks=count, n_mels=20
    )
    mask = torch.arange(60) < torch.tensor(lengths)[:, None]
    features = torch.ones(len(lengths), 60, 20)
    blank = spec_augment(features, mask, config) == 0
    assert (features == 1).all()
    for row, length in zip(blank, lengths, strict=True):
        frames, bins = row.all(-1), row.all(-2)
        if not bins.all():
            assert frames.sum() <= count * ratio * length
            assert not frames[length:].any()
        if not frames.all():
            assert bins.sum() <= count * min(width, 20)
        assert torch.equal(row, frames[:, None] | bins)


def test_spec_augment_runs_in_training_only_and_differs_by_clip():
    config = tiny_config(apply_spec_augment=True, time_mask_ratio=0.5, dropout=0.0)
    model = make_model(AudioBranchModel, config)
    clip = random_clips([8000])[0].expand(2, -1)
    with torch.no_grad():
        calm = model(clip).segment_features
        torch.testing.assert_close(calm[0], calm[1], atol=1e-6, rtol=0)
        wild = model.train()(clip).segment_features
        assert (wild[0] - wild[1]).abs().max() > 1e-3

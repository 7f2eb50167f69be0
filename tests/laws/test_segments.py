"""Laws of the segments: torch's adaptive pooling is their oracle, and they tile the clip."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from helpers.models import make_model, pad, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.pooling import SegmentPooling


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 20))
def test_avg_and_max_equal_torchs_adaptive_pooling_of_the_clip_alone(num_frames, num_segments, padding):
    hidden_states = torch.randn(1, num_frames, 16)
    padded = F.pad(hidden_states, (0, 0, 0, padding))
    mask = torch.arange(num_frames + padding)[None] < num_frames
    for kind, oracle in (("avg", F.adaptive_avg_pool1d), ("max", F.adaptive_max_pool1d)):
        config = tiny_config(pooling_type=kind, num_segments=num_segments, use_temporal_encoding=False)
        segments, _, _ = SegmentPooling(config)(padded, mask)
        expected = oracle(hidden_states.transpose(1, 2), num_segments).transpose(1, 2)
        torch.testing.assert_close(segments, expected, atol=1e-6, rtol=0)


@given(st.integers(1, 40), st.integers(1, 9))
def test_attention_without_scores_and_a_new_learnable_profile_equal_avg(num_frames, num_segments):
    hidden_states = torch.randn(1, num_frames, 16)
    mask = torch.ones(1, num_frames, dtype=torch.bool)
    expected = F.adaptive_avg_pool1d(hidden_states.transpose(1, 2), num_segments).transpose(1, 2)

    def pooling(kind):
        config = tiny_config(pooling_type=kind, num_segments=num_segments, use_temporal_encoding=False)
        return make_model(AudioBranchModel, config).pooling

    learnable = AudioBranchModel(
        tiny_config(pooling_type="learnable", num_segments=num_segments, use_temporal_encoding=False)
    ).pooling
    torch.testing.assert_close(learnable(hidden_states, mask)[0], expected, atol=1e-6, rtol=0)
    attention = pooling("attention")
    with torch.no_grad():
        attention.q_proj.weight.zero_()
        attention.q_proj.bias.zero_()
        expected = attention.o_proj(attention.v_proj(expected))
    torch.testing.assert_close(attention(hidden_states, mask)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling_type", ["attention", "avg"])
def test_frames_of_hardly_any_mass_hardly_change_a_segment_wherever_they_are(pooling_type):
    """As silence and noise at the ends and pauses, once the model has learned what they look like."""
    config = tiny_config(pooling_type=pooling_type, segmentation="learned", num_segments=3)
    pooling = make_model(AudioBranchModel, config).pooling
    speech, silence = torch.randn(1, 24, 16), torch.randn(1, 24, 16)
    speech[..., 0], silence[..., 0] = 1.0, -1.0  # by which the model tells them apart
    with torch.no_grad():
        pooling.segmentation.weight.zero_()
        pooling.segmentation.weight[0] = 20.0
        expected, _, _ = pooling(speech, torch.ones(1, 24, dtype=torch.bool))
        parts = silence[:, :9], speech[:, :10], silence[:, 9:14], speech[:, 10:], silence[:, 14:]
        got, weights, borders = pooling(torch.cat(parts, dim=1), torch.ones(1, 48, dtype=torch.bool))
    torch.testing.assert_close(got, expected, atol=0.02, rtol=0)
    silent = torch.cat([torch.full((part.shape[1],), part is not speech and bool(part[0, 0, 0] < 0)) for part in parts])
    assert weights[..., silent].sum(-1).max() < 0.02
    torch.testing.assert_close(borders[0] * 48, torch.tensor([0.0, 17.0, 30.0, 48.0]), atol=0.05, rtol=0)


@given(st.integers(0, 20000), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]), st.sampled_from(["uniform", "learned"]))
def test_segments_tile_the_clip(num_samples, num_segments, factor, segmentation):
    config = tiny_config(num_segments=num_segments, subsampling_factor=factor, segmentation=segmentation)
    model = make_model(AudioBranchModel, config)
    waveform, mask = pad([torch.randn(num_samples), torch.randn(20000)])
    with torch.no_grad():
        output = model(waveform, attention_mask=mask)
    start, end = output.segment_times[0].unbind(-1)
    assert start[0] == 0
    assert end[-1].item() == pytest.approx(num_samples // 160 * 0.01, abs=1e-6)
    assert torch.equal(start[1:], end[:-1])
    assert (end > start).all() if num_samples >= 160 else (end == 0).all()
    assert output.segment_mask[0].tolist() == [int(num_samples >= 160)] * num_segments

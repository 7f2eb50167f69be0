"""Subsampling: the number of frames, and chunks that change nothing."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.models import tiny_config
from modeling_audio_branch import subsampling as subsampling_module
from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.subsampling import Subsampling


@given(st.integers(1, 60), st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_each_stage_keeps_half_of_the_frames(num_frames, factor, causal):
    config = tiny_config(subsampling_factor=factor, causal_subsampling=causal)
    subsampling = Subsampling(config).eval()
    expected = num_frames
    for _ in range(factor.bit_length() - 1):
        expected = expected // 2 + 1 if causal else -(-expected // 2)
    mask = length_mask(torch.tensor([num_frames]), num_frames)
    with torch.no_grad():
        states, frame_mask = subsampling(torch.randn(1, num_frames, config.n_mels), mask)
    assert states.shape == (1, expected, config.d_model)
    assert frame_mask.sum() == expected


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["striding", "dw_striding"])
@given(length=st.integers(1, 300))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_change_nothing(monkeypatch, kind, causal, length):
    config = tiny_config(subsampling=kind, subsampling_factor=8, causal_subsampling=causal)
    torch.manual_seed(0)
    subsampling = Subsampling(config).eval()
    features, mask = torch.randn(1, length, config.n_mels), torch.ones(1, length, dtype=torch.bool)
    outputs = []
    for chunk in (8, 10**6):
        monkeypatch.setattr(subsampling_module, "SUBSAMPLING_CHUNK_FRAMES", chunk)
        with torch.no_grad():
            outputs.append(subsampling(features, mask)[0])
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=0)

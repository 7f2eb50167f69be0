"""Recordings that are encoded block by block: the same frames as at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import make_model, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel, streaming
from modeling_audio_branch.streaming import context_frames, is_limited, stream_frames


@given(
    st.integers(160, 60000),
    st.integers(1, 40),
    st.fixed_dictionaries(
        {
            "subsampling_factor": st.sampled_from([1, 2, 8]),
            "attention_window": st.sampled_from([3, [5, 1], [0, 4]]),
            "conv_context": st.sampled_from([None, [4, 0], [1, 3]]),
            "causal_subsampling": st.booleans(),
            "conv_norm": st.sampled_from(["batch", "layer"]),
            "position_embedding": st.sampled_from(["relative", "rotary", "none"]),
            "normalize": st.sampled_from(["per_feature", "all_features", "none"]),
            "use_weighted_layer_sum": st.booleans(),
        }
    ),
)
@settings(max_examples=60)
def test_a_recording_is_encoded_in_blocks_of_any_size_as_at_once(length, block, settings):
    if settings["subsampling_factor"] == 1:
        settings["causal_subsampling"] = False
    model = make_model(AudioBranchModel, tiny_config(**settings))
    clip = random_clips([length])[0]
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(streaming, "STREAMED_FRAMES", block)
        frames, counts = zip(*stream_frames(model, clip.split(7000)), strict=True)
        log_mel, mask, lengths = model.front_end(clip.unsqueeze(0))
        weights = None if model.layer_weights is None else model.layer_weights.softmax(0)
        _, expected, mask = model.encoder(log_mel, mask, weights, lengths=lengths)
    assert sum(counts) == lengths[0]
    torch.testing.assert_close(torch.cat(frames), expected[mask], atol=2e-5, rtol=0)


def test_only_where_every_frame_sees_a_limited_part_a_recording_is_encoded_in_blocks():
    assert is_limited(tiny_config(attention_window=3)) and is_limited(tiny_config(attention_window=[5, 0]))
    for unlimited in (
        {},
        {"attention_window": [3, -1]},
        {"attention_window": [4, 1], "attention_chunked": True},
        {"attention_window": 3, "global_attention": "shared"},
    ):
        assert not is_limited(tiny_config(**unlimited))


def test_the_context_is_what_changes_a_frame_and_no_more_than_three_frames_longer():
    config = tiny_config(attention_window=[5, 2], subsampling_factor=2, conv_norm="layer")
    model = make_model(AudioBranchModel, config)
    frames = torch.randn(1, 200, config.n_mels)
    mask = torch.ones(1, 200, dtype=torch.bool)
    with torch.no_grad():
        before = model.encoder(frames, mask)[0]
        frames[:, 100:102] += 1
        changed = (model.encoder(frames, mask)[0] - before).abs().amax(-1)[0].nonzero().flatten()
    context = context_frames(config)
    assert 50 - context <= changed.min() and changed.max() <= 50 + context
    assert max(50 - changed.min(), changed.max() - 50) >= context - 3

"""Attention equals its definition, and costs what it should."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.models import make_model, pad, random_clips, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch import attention as attention_module
from modeling_audio_branch import attention_blocks as blocks_module
from modeling_audio_branch.attention_blocks import mask_value, plan_blocks, reach
from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.packing import Packed, Padded
from modeling_audio_branch.positions import compute_position_embeddings


def reference_attention(attention, hidden_states, mask, window):
    """Dense self-attention with a band of ones, written with loops over (i, j) for the position scores."""
    batch, frames, _ = hidden_states.shape
    query, key, value = attention.qkv_proj(hidden_states).view(batch, frames, 3, attention.num_heads, -1).unbind(2)
    scores = torch.zeros(batch, attention.num_heads, frames, frames)
    for i in range(frames):
        for j in range(frames):
            if attention.position_embedding == "relative":
                divisor = 10000.0 ** (-torch.arange(0, 16, 2) / 16)
                sinusoid = torch.stack([((i - j) * divisor).sin(), ((i - j) * divisor).cos()], -1).flatten()
                relative_key = attention.relative_k_proj(sinusoid).view(attention.num_heads, -1)
                score = ((query[:, i] + attention.bias_u) * key[:, j]).sum(-1)
                score = score + ((query[:, i] + attention.bias_v) * relative_key).sum(-1)
            else:
                score = (query[:, i] * key[:, j]).sum(-1)
            scores[:, :, i, j] = score / attention.head_dim**0.5
    distance = (torch.arange(frames)[:, None] - torch.arange(frames)).abs()
    seen = mask[:, None, None, :] & (distance <= (frames if window is None else window))
    probabilities = scores.masked_fill(~seen, mask_value(torch.float32)).softmax(-1)
    return attention.o_proj((probabilities @ value.transpose(1, 2)).transpose(1, 2).flatten(2))


def attend(attention, hidden_states, layout):
    """What the attention makes of frames in this layout, by its own plan."""
    packed, device = isinstance(layout, Packed), hidden_states.device
    blocks = [plan_blocks(attention.config, group, device, packed) for group in layout.groups]
    positions = compute_position_embeddings(attention.config, layout.positions, reach(blocks), hidden_states)
    return attention(hidden_states, layout, blocks, positions)[0]


@given(
    st.integers(1, 90),
    st.sampled_from(["relative", "none"]),
    st.sampled_from([None, 1, 4, 30]),
    st.sampled_from([0, 5, 500]),
    st.sampled_from([32, 64, 1000]),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_attention_equals_its_definition(monkeypatch, num_frames, position_embedding, window, worth, at_once):
    attention = (
        make_model(AudioBranchModel, tiny_config(position_embedding=position_embedding, attention_window=window))
        .encoder.layers[0]
        .self_attn
    )
    hidden_states = torch.randn(2, num_frames, 16)
    lengths = [num_frames, max(1, num_frames // 2)]
    mask = length_mask(torch.tensor(lengths), num_frames)
    monkeypatch.setattr(blocks_module, "QUERY_BLOCK", 16)  # so that clips of up to 90 frames take several blocks
    monkeypatch.setattr(blocks_module, "_queries_at_once", lambda *_: at_once)  # and several blocks attend at once
    with torch.no_grad():
        expected = reference_attention(attention, hidden_states, mask, window)
        got = attend(attention, hidden_states, Padded(mask))
        torch.testing.assert_close(got[mask], expected[mask], atol=1e-5, rtol=0)
        packing = Packed(lengths, num_frames, 2, 0, hidden_states.device, worth)
        row, _ = packing.pack(hidden_states * mask.unsqueeze(-1), mask, lengths, 1)
        got = packing.pad(attend(attention, packing.close_gaps(row, packing.strided_gap), packing))
        torch.testing.assert_close(got[mask], expected[mask], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("worth", "groups"), [(0, [2, 3]), (10**6, [5])])
def test_packed_clips_of_one_length_attend_together_and_on_a_gpu_those_of_similar_lengths(worth, groups, monkeypatch):
    model = make_model(AudioBranchModel, tiny_config())
    model.encoder.group_worth = worth
    calls = []
    attend = attention_module.ConformerAttention._attend_group
    monkeypatch.setattr(
        attention_module.ConformerAttention,
        "_attend_group",
        lambda self, *given, **named: calls.append(given[0].count) or attend(self, *given, **named),
    )
    clips = random_clips([8000, 16000, 8000, 100, 16000, 8000])  # the fourth has no frame
    with torch.no_grad():
        model(*pad(clips))
    layers = model.config.num_layers
    assert sorted(calls) == sorted(groups * layers)


@pytest.mark.parametrize("position_embedding", ["relative", "rotary", "none"])
@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_windowed_attention_of_a_longer_clip_costs_linear_memory(position_embedding, attn_implementation):
    config = tiny_config(position_embedding=position_embedding, attention_window=4)
    encoder = make_model(AudioBranchModel, config).encoder
    config._attn_implementation = attn_implementation

    def largest_tensor(num_frames):
        """Most bytes that any operation of the forward or backward pass returns at once."""
        largest = 0

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                nonlocal largest
                result = func(*args, **(kwargs or {}))
                for tensor in torch.utils._pytree.tree_leaves(result):
                    if isinstance(tensor, torch.Tensor):
                        largest = max(largest, tensor.untyped_storage().nbytes())
                return result

        features = torch.randn(1, num_frames, config.n_mels, requires_grad=True)
        with Watch():
            encoder(features, torch.ones(1, num_frames, dtype=torch.bool))[0].sum().backward()
        return largest

    assert largest_tensor(4096) <= 4.2 * largest_tensor(1024)

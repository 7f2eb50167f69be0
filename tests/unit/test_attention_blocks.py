"""Blocks of queries: every query meets every key that it sees, once, and no other."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.models import tiny_config
from helpers.strategies import WINDOWS
from modeling_audio_branch import attention_blocks as blocks_module
from modeling_audio_branch.attention_blocks import mask_value, plan_blocks, reach
from modeling_audio_branch.masks import length_mask
from modeling_audio_branch.packing import ClipGroup

CPU = torch.device("cpu")


def sees(query, key, length, config):
    """The definition: whether frame `query` of a clip of this length sees frame `key` (global frames apart)."""
    left, right = config.attention_context
    if not 0 <= key < length:
        return False
    if config.attention_chunked:
        chunk = right + 1
        near = left < 0 or key // chunk >= query // chunk - left // chunk
        return near and key // chunk <= query // chunk
    return (left < 0 or key >= query - left) and (right < 0 or key <= query + right)


@given(
    st.sampled_from(WINDOWS),
    st.integers(1, 40),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.sampled_from([3, 8]),
    st.sampled_from([1, 2, 100]),
    st.booleans(),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_query_meets_exactly_the_keys_that_it_sees(monkeypatch, window, length, clips, block, at_once, packed):
    monkeypatch.setattr(blocks_module, "QUERY_BLOCK", block)
    monkeypatch.setattr(blocks_module, "_queries_at_once", lambda *_: block * at_once)
    config, clips = tiny_config(**window), [min(each, length) for each in clips]
    key_mask = None if set(clips) == {length} else length_mask(torch.tensor(clips), length)
    group = ClipGroup(len(clips), length, key_mask)
    frames = torch.arange(1, length + 1).expand(len(clips), length).unsqueeze(-1)  # 0 is no frame
    plan, met = plan_blocks(config, group, CPU, packed), set()
    for each in plan:
        assert max(each.before + each.size, each.num_keys - each.before) <= reach([plan])
        queries, keys = each.queries(frames).squeeze(-1), each.keys(frames).squeeze(-1)  # (b n, Q), (b n, K)
        assert queries.shape == (len(clips) * each.count, each.size) and keys.shape[1] == each.num_keys
        hidden = torch.zeros(1, 1, 1, 1, dtype=torch.bool) if each.hidden is None else each.hidden
        visible = ~hidden.expand(len(queries), 1, each.size, each.num_keys)
        for row, i, j in visible.squeeze(1).nonzero().tolist():
            pair = row // each.count, int(queries[row, i]) - 1, int(keys[row, j]) - 1
            if pair[1] >= 0:
                assert pair not in met
                met.add(pair)
    expected = {
        (clip, query, key)
        for clip, valid in enumerate(clips)
        for query in range(length)
        for key in range(valid)
        if sees(query, key, valid, config)
    }
    assert met == expected


@given(st.integers(1, 40), st.sampled_from([3, 8]), st.sampled_from([1, 100]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_blocks_make_is_joined_in_the_order_of_the_frames(monkeypatch, length, block, at_once):
    monkeypatch.setattr(blocks_module, "QUERY_BLOCK", block)
    monkeypatch.setattr(blocks_module, "_queries_at_once", lambda *_: block * at_once)
    states = torch.randn(2, length, 3)
    plan = plan_blocks(tiny_config(attention_window=2), ClipGroup(2, length), CPU, True)
    assert torch.equal(torch.cat([each.join(each.queries(states), length) for each in plan], dim=1), states)


def test_the_additive_mask_is_made_once_for_all_layers_of_a_dtype():
    blocks = plan_blocks(tiny_config(attention_window=1), ClipGroup(1, 3), CPU, True)[0]
    mask = blocks.additive_mask(torch.float16)
    assert mask[0, 0].tolist() == [[0, 0, value := mask_value(torch.float16)], [0, 0, 0], [value, 0, 0]]
    assert blocks.additive_mask(torch.float16) is mask and blocks.additive_mask(torch.float32).dtype == torch.float32
    assert plan_blocks(tiny_config(), ClipGroup(1, 3), CPU, True)[0].additive_mask(torch.float32) is None


def test_the_blocks_of_a_long_clip_share_the_memory_of_their_scores_unless_gradients_need_them(monkeypatch):
    monkeypatch.setattr(blocks_module, "QUERY_BLOCK", 8)
    config = tiny_config(position_embedding="relative")
    with torch.no_grad():
        first, second = (each.scratch for each in plan_blocks(config, ClipGroup(1, 16), CPU, True))
        assert first is second
        taken = first.take((2, 3), torch.zeros(1))
        assert first.take((3,), torch.zeros(1)).data_ptr() == taken.data_ptr() and taken.shape == (2, 3)
        assert first.take((3,), torch.zeros(1).double()).dtype == torch.float64
        assert plan_blocks(config, ClipGroup(1, 8), CPU, True)[0].scratch is None
    assert plan_blocks(config, ClipGroup(1, 16), CPU, True)[0].scratch is None

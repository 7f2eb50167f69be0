"""Comparisons that several tests share."""

import torch


def rounding(choices: dict) -> float:
    """What float32 may round segment features by: learned borders, which lie in single frames, magnify it."""
    return 5e-5 if choices.get("segmentation") == "learned" else 1e-5


def assert_same_clips(batched, alone, tolerance=1e-5):
    """Every valid frame and segment of clip i of a batch equals the one of `alone[i]`, a batch of that clip only."""
    for i, single in enumerate(alone):
        frames = int(single.attention_mask.sum())
        assert int(batched.attention_mask[i].sum()) == frames
        got, expected = batched.last_hidden_state[i, :frames], single.last_hidden_state[0, :frames]
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=0)
        for name in ("segment_features", "segment_mask", "segment_times", "pooler_output"):
            torch.testing.assert_close(batched[name][i], single[name][0], atol=tolerance, rtol=0, msg=name)

"""Batch statistics see valid frames only, and convolutions on a GPU are those of float32."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.pretended_cuda import to_device
from modeling_audio_branch import layers
from modeling_audio_branch.layers import ChannelsLastConv, DepthwiseConv, MaskedBatchNorm, avoids_tf32


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.booleans())
def test_batch_statistics_never_see_padding(lengths, training):
    norm, oracle = MaskedBatchNorm(6), torch.nn.BatchNorm1d(6)
    for module in (norm, oracle):
        module.train(training)
    hidden_states = 5 + 3 * torch.randn(len(lengths), 12, 6)
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    hidden_states[~mask] = float("nan")
    frames = hidden_states[mask]  # (frames, D), as torch's takes them
    output = norm(hidden_states, mask)[mask]
    if len(frames) > 1 or not training:
        torch.testing.assert_close(output, oracle(frames), atol=1e-5, rtol=1e-5)
    for name, expected in oracle.named_buffers():
        torch.testing.assert_close(getattr(norm, name), expected, atol=1e-5, rtol=1e-5, msg=name)


@given(
    st.sampled_from([(1, 4, 1), (3, 4, 1), (4, 4, 4)]),
    st.sampled_from([0, 1]),
    st.integers(3, 9),
    st.integers(3, 9),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_convolution_that_avoids_tf32_equals_cudnns(monkeypatch, channels, padding, height, width, bias):
    given_channels, made, groups = channels
    convolution = ChannelsLastConv(given_channels, made, 3, stride=2, padding=padding, groups=groups, bias=bias)
    depthwise = DepthwiseConv(made, made, 3, groups=made, bias=bias)
    image, states = torch.randn(2, given_channels, height, width), torch.randn(2, height, made)
    expected = convolution(image), depthwise(states, 2, 0)
    monkeypatch.setattr(layers, "avoids_tf32", lambda states: True)
    for got, value in zip((convolution(image), depthwise(states, 2, 0)), expected, strict=True):
        torch.testing.assert_close(got, value, atol=1e-5, rtol=0)


def test_tf32_is_avoided_in_float32_on_a_gpu_alone():
    assert avoids_tf32(to_device(torch.zeros(1)))
    assert not avoids_tf32(to_device(torch.zeros(1, dtype=torch.float16))) and not avoids_tf32(torch.zeros(1))

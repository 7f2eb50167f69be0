"""Batch statistics see valid frames only, and convolutions on a GPU are those of float32."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pretended_cuda import to_device
from modeling_audio_branch.layers import MaskedBatchNorm, full_precision


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


def test_convolutions_of_float32_on_a_gpu_run_without_tf32_and_leave_the_setting_as_it_was():
    cudnn = torch.backends.cudnn.conv
    assert cudnn.fp32_precision == "tf32"
    with full_precision(to_device(torch.zeros(1))):
        assert cudnn.fp32_precision == "ieee"
    assert cudnn.fp32_precision == "tf32"
    for other in (torch.zeros(1), to_device(torch.zeros(1, dtype=torch.float16))):
        with full_precision(other):
            assert cudnn.fp32_precision == "tf32"

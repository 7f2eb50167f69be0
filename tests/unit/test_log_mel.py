"""The log-mel frames equal NeMo's, do not depend on the batch, and have gradients."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from helpers.models import pad, random_clips
from modeling_audio_branch.configuration_audio_branch import LogMelSettings
from modeling_audio_branch.log_mel import LogMel

NEMO = Path(__file__).parents[1] / "fixtures" / "nemo"


@pytest.fixture(scope="module")
def log_mel():
    return LogMel(16000, 80, LogMelSettings())


def test_log_mel_equals_nemos(log_mel):
    audio, golden = load_file(NEMO / "waveforms.safetensors"), load_file(NEMO / "fc_ctc_bpe/batch.safetensors")
    mask = torch.arange(audio["waveforms"].shape[1]) < audio["lengths"][:, None]
    features, frame_mask = log_mel(audio["waveforms"], mask)
    assert frame_mask.sum(-1).tolist() == golden["mel_lengths"].tolist()
    # A bin of little power holds the rounding of the FFT, which MKL computes in another way on CPUs of Intel.
    difference = (features - golden["mel"].transpose(1, 2)).abs()
    assert difference.quantile(0.998) < 2e-5 and difference.max() < 5e-4


def test_log_mel_equals_nemos_on_clips_of_every_edge_length(log_mel):
    golden = load_file(NEMO / "fc_ctc_bpe/edge.safetensors")
    for waveform, length in zip(golden["batch.waveforms"], golden["lengths"].tolist(), strict=True):
        features, frame_mask = log_mel(waveform[None, :length])
        assert int(frame_mask.sum()) == int(golden[f"n{length}.mel_lengths"])
        torch.testing.assert_close(features, golden[f"n{length}.mel"].transpose(1, 2), atol=2e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.5, 1e-4])
def test_a_constant_signal_is_small_not_amplified_rounding(log_mel, value):
    features, frame_mask = log_mel(torch.full((1, 12000), value))
    assert features[frame_mask][3:-3].abs().max() < 0.5  # the edges of a constant are real sound


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=4))
def test_frames_do_not_depend_on_the_batch(log_mel, lengths):
    clips = random_clips(lengths)
    waveform, mask = pad(clips, float("nan"))
    features, frame_mask = log_mel(waveform, mask)
    assert frame_mask.sum(-1).tolist() == [length // 160 for length in lengths]
    assert (features[~frame_mask] == 0).all()
    for i, clip in enumerate(clips):
        alone, _ = log_mel(clip[None])
        torch.testing.assert_close(features[i, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)


def test_gradients_reach_the_audio():
    module = LogMel(16000, 4, LogMelSettings(n_fft=32, hop_length=8, win_length=20))
    waveform, mask = pad([torch.randn(60), torch.randn(41)])
    waveform.requires_grad_()
    weights = torch.randn(2, 8, 4)

    def loss(audio):
        return (module(audio, mask)[0] * weights).sum()

    loss(waveform).backward()
    direction = torch.randn_like(waveform) * mask
    step = 1e-3
    numeric = (loss(waveform.detach() + step * direction) - loss(waveform.detach() - step * direction)) / (2 * step)
    assert (waveform.grad * direction).sum().item() == pytest.approx(numeric.item(), rel=0.02)


@pytest.mark.parametrize("convert", [torch.nn.Module.half, torch.nn.Module.bfloat16, lambda module: module.to("meta")])
def test_a_change_of_dtype_never_rounds_the_constants(convert):
    module = LogMel(16000, 80, LogMelSettings())
    convert(module)
    for name, value in module.constants().items():
        buffer = getattr(module, name)
        assert buffer.dtype == torch.float32
        assert buffer.is_meta or torch.equal(buffer, value)

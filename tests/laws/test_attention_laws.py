"""Laws of attention: its implementations agree, and a wide window is full attention."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import architectures, lengths
from modeling_audio_branch import AudioBranchModel


@given(architectures, lengths)
def test_eager_attention_equals_sdpa(choices, lengths):
    model = make_model(AudioBranchModel, tiny_config(**choices))
    waveform, mask = pad(random_clips(lengths))
    with torch.no_grad():
        sdpa = model(waveform, attention_mask=mask)
        model.set_attn_implementation("eager")
        eager = model(waveform, attention_mask=mask)
    for name, expected in eager.items():
        torch.testing.assert_close(sdpa[name], expected, atol=1e-5, rtol=0, msg=name)


@given(architectures, st.integers(160, 6000))
def test_a_window_no_shorter_than_the_clip_equals_full_attention(choices, num_samples):
    model = make_model(AudioBranchModel, tiny_config(**choices | {"attention_window": None}))
    frames = -(-(num_samples // 160) // model.config.subsampling_factor)
    (clip,) = random_clips([num_samples])
    # Beside a clip far beyond the window.
    waveform, mask = pad([clip, torch.randn(num_samples + 20000)])
    with torch.no_grad():
        full = model(clip[None])
        model.config.attention_window = [frames, frames]
        windowed = model(waveform, attention_mask=mask)
    valid = int(full.attention_mask.sum())
    torch.testing.assert_close(
        windowed.last_hidden_state[0, :valid], full.last_hidden_state[0, :valid], atol=1e-5, rtol=0
    )

"""Tiny models and random clips for all tests."""

import os

import pytest
import torch
from hypothesis import settings

from modeling_audio_branch import AudioBranchConfig

# Fetched and run by make test-upstream.
collect_ignore = [] if os.environ.get("AUDIO_BRANCH_UPSTREAM") else ["test_upstream.py"]

settings.register_profile("local", deadline=None, max_examples=25)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
torch.set_num_threads(1)  # two pytest workers share two cores

TINY = {
    "num_layers": 2,
    "d_model": 16,
    "num_heads": 2,
    "num_segments": 4,
    "feature_dim": 12,
    "n_mels": 20,
    "subsampling_channels": 6,
    "conv_kernel_size": 5,
    "ff_expansion_factor": 2,
}


def tiny_config(**choices) -> AudioBranchConfig:
    if choices.get("subsampling_factor", 1) > 1:
        choices.setdefault("subsampling", "dw_striding")
    return AudioBranchConfig(**(TINY | choices))


def make_model(model_class, config, seed=0):
    """A model in eval mode whose every parameter and statistic is random, as if it had been trained."""
    torch.manual_seed(seed)
    model = model_class(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.3 * torch.randn(buffer.shape, generator=generator)
            elif name.endswith("running_var"):
                buffer *= 0.5 + torch.rand(buffer.shape, generator=generator)
    return model


def random_clips(lengths, seed=0):
    """Coloured noise of the given lengths in samples: every mel bin varies."""
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(length, generator=generator).cumsum(0).sin() for length in lengths]


def pad(clips, value=0.0):
    """Clips to (B, samples) and their mask."""
    lengths = torch.tensor([len(clip) for clip in clips])
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=value)
    return batch, (torch.arange(batch.shape[1]) < lengths[:, None]).long()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)

"""Tiny models and random clips for all tests."""

import torch

from modeling_audio_branch import AudioBranchConfig

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

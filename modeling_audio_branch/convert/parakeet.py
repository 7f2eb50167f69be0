"""Parakeet checkpoints in Transformers' format as our own encoder: the same architecture, so the same numbers.

Not shipped with checkpoints; see [`AudioBranchModel.from_parakeet`].
"""

import torch
from transformers import AutoFeatureExtractor, ParakeetEncoder, ParakeetFeatureExtractor

from . import nemo
from ..configuration_audio_branch import AudioBranchConfig
from ..modeling_audio_branch import AudioBranchModel
from ..transformers_encoder import load_encoder

# Transformers' names of the weights, where they are not NeMo's.
NEMO_NAMES = {
    "subsampling.layers.": "pre_encode.conv.",
    "subsampling.linear.": "pre_encode.out.",
    "relative_k_proj.": "linear_pos.",  # before k_proj, which it ends in
    "q_proj.": "linear_q.",
    "k_proj.": "linear_k.",
    "v_proj.": "linear_v.",
    "o_proj.": "linear_out.",
    "bias_u": "pos_bias_u",
    "bias_v": "pos_bias_v",
    "conv.norm.": "conv.batch_norm.",
}


def encoder_settings(config) -> dict:
    """A ParakeetEncoderConfig in the names of [`AudioBranchConfig`]; refuses what our encoder does not compute."""
    required = {
        "hidden_act": "silu",
        "subsampling_conv_kernel_size": 3,
        "subsampling_conv_stride": 2,
        "convolution_bias": config.attention_bias,
        "num_key_value_heads": config.num_attention_heads,
    }
    for name, value in required.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"The Parakeet checkpoint has {name}={getattr(config, name)!r}, and our encoder supports only "
                f"{value!r}; AudioBranchModel.from_encoder runs Transformers' own."
            )
    if config.intermediate_size % config.hidden_size:
        raise ValueError(
            f"The Parakeet checkpoint has intermediate_size={config.intermediate_size}, which is no multiple of "
            f"hidden_size={config.hidden_size}; AudioBranchModel.from_encoder runs Transformers' own."
        )
    return {
        "num_layers": config.num_hidden_layers,
        "d_model": config.hidden_size,
        "num_heads": config.num_attention_heads,
        "ff_expansion_factor": config.intermediate_size // config.hidden_size,
        "subsampling": "dw_striding",
        "subsampling_factor": config.subsampling_factor,
        "subsampling_channels": config.subsampling_conv_channels,
        "position_embedding": "relative",
        "conv_kernel_size": config.conv_kernel_size,
        "conv_norm": "batch",
        "use_bias": config.attention_bias,
        "scale_input": config.scale_input,
        "dropout": config.dropout,
        "n_mels": config.num_mel_bins,
    }


def encoder_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a ParakeetEncoder under our names."""
    nemo = {}
    for key, value in weights.items():
        for name, nemo_name in NEMO_NAMES.items():
            key = key.replace(name, nemo_name)
        nemo[f"encoder.{key}"] = value
    return nemo.encoder_weights(nemo)


def load_parakeet(repository, download: dict, **overrides) -> AudioBranchModel:
    """The model of a Parakeet checkpoint; see [`AudioBranchModel.from_parakeet`]."""
    extractor = AutoFeatureExtractor.from_pretrained(repository, trust_remote_code=False, **download)
    encoder = load_encoder(repository, trust_remote_code=False, **download)
    if not (isinstance(encoder, ParakeetEncoder) and isinstance(extractor, ParakeetFeatureExtractor)):
        raise ValueError(
            f"{repository} holds a {type(encoder).__name__} with a {type(extractor).__name__}; only Parakeet becomes "
            f"our own encoder, and AudioBranchModel.from_encoder runs others."
        )
    settings = encoder_settings(encoder.config) | {
        "sample_rate": extractor.sampling_rate,
        "n_fft": extractor.n_fft,
        "hop_length": extractor.hop_length,
        "win_length": extractor.win_length,
        "preemphasis": extractor.preemphasis or 0.0,
    }
    model = AudioBranchModel(AudioBranchConfig(**(settings | overrides))).eval()
    model.encoder.load_state_dict(encoder_weights(encoder.state_dict()))
    return model

"""Converts Parakeet checkpoints in Transformers' format to our own encoder: the same architecture, the same numbers."""

import torch
from transformers import AutoFeatureExtractor, ParakeetEncoder, ParakeetFeatureExtractor

from ..configuration_audio_branch import AudioBranchConfig
from ..transformers_encoder import load_encoder
from . import nemo_weights

# Transformers' names of the weights where they are not NeMo's. The order counts: relative_k_proj ends in k_proj.
NEMO_NAMES = {
    "subsampling.layers.": "pre_encode.conv.",
    "subsampling.linear.": "pre_encode.out.",
    "relative_k_proj.": "linear_pos.",
    "q_proj.": "linear_q.",
    "k_proj.": "linear_k.",
    "v_proj.": "linear_v.",
    "o_proj.": "linear_out.",
    "bias_u": "pos_bias_u",
    "bias_v": "pos_bias_v",
    "conv.norm.": "conv.batch_norm.",
}


def encoder_settings(config) -> dict:
    """The settings of a ParakeetEncoderConfig under the names of [`AudioBranchConfig`].

    Raises:
        ValueError: Our encoder does not support a setting.
    """
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
                f"{value!r}; use AudioBranchModel.from_encoder, which runs Transformers' encoder."
            )
    if config.intermediate_size % config.hidden_size:
        raise ValueError(
            f"The Parakeet checkpoint has intermediate_size={config.intermediate_size}, and our encoder supports only "
            f"multiples of hidden_size={config.hidden_size}; use AudioBranchModel.from_encoder, which runs "
            f"Transformers' encoder."
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


def front_end_settings(extractor: ParakeetFeatureExtractor) -> dict:
    """The settings of Parakeet's feature extractor under the names of [`AudioBranchConfig`]."""
    return {
        "sample_rate": extractor.sampling_rate,
        "n_fft": extractor.n_fft,
        "hop_length": extractor.hop_length,
        "win_length": extractor.win_length,
        "preemphasis": extractor.preemphasis or 0.0,
    }


def encoder_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a ParakeetEncoder under our names."""
    nemo = {}
    for key, value in weights.items():
        for name, nemo_name in NEMO_NAMES.items():
            key = key.replace(name, nemo_name)
        nemo[f"encoder.{key}"] = value
    return nemo_weights.encoder_weights(nemo)


def load_parakeet(repository, model_class, hub_kwargs: dict, **overrides):
    """A `model_class` with the encoder and the front end of a Parakeet checkpoint.

    See [`AudioBranchModel.from_parakeet`].

    Args:
        repository: A Hub repository or a folder.
        model_class: [`AudioBranchModel`] or a subclass.
        hub_kwargs: Arguments of `from_pretrained` about the download, such as `revision`.
        **overrides: Settings of [`AudioBranchConfig`].

    Raises:
        ValueError, OSError: The checkpoint is missing, is not a Parakeet, or has a setting that is not supported.
    """
    extractor = AutoFeatureExtractor.from_pretrained(repository, trust_remote_code=False, **hub_kwargs)
    encoder = load_encoder(repository, trust_remote_code=False, **hub_kwargs)
    if not (isinstance(encoder, ParakeetEncoder) and isinstance(extractor, ParakeetFeatureExtractor)):
        raise ValueError(
            f"{repository} holds a {type(encoder).__name__} with a {type(extractor).__name__}, and only Parakeet can "
            f"be converted to our own encoder; use AudioBranchModel.from_encoder for others."
        )
    settings = encoder_settings(encoder.config) | front_end_settings(extractor)
    model = model_class(AudioBranchConfig(**(settings | overrides))).eval()
    model.encoder.load_state_dict(encoder_weights(encoder.state_dict()))
    return model

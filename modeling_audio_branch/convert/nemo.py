"""Converts NVIDIA NeMo checkpoints (.nemo) of (Fast)Conformer models, without NeMo.

Every setting of the archive is converted or refused by name, and every weight of its encoder is used exactly once.
"""

from pathlib import Path

import torch

from .errors import NemoError
from .nemo_archive import NemoArchive
from .nemo_settings import build_config, encoder_settings, front_end_settings
from .nemo_weights import load_constants, load_encoder_weights

MAX_LAYERS = 1000


def load_nemo(path: str | Path, model_class, show_progress: bool = False, **overrides):
    """A `model_class` with the encoder and the front end of a .nemo archive; see [`AudioBranchModel.from_nemo`].

    Args:
        path: The archive.
        model_class: [`AudioBranchModel`] or a subclass.
        show_progress: Show a progress bar while the archive is read.
        **overrides: Settings of [`AudioBranchConfig`].

    Raises:
        NemoError, FileNotFoundError: One sentence about the archive.
        DiskError: The temporary folder is full.
    """
    archive = NemoArchive(path, show_progress)
    nemo = archive.config()
    settings = front_end_settings(nemo["preprocessor"]) | encoder_settings(nemo["encoder"])
    if settings["n_mels"] != nemo["encoder"]["feat_in"]:
        raise NemoError(
            f"The archive's preprocessor makes {settings['n_mels']} features, but its encoder takes "
            f"feat_in={nemo['encoder']['feat_in']}."
        )
    config = build_config(settings, overrides)
    encoder_size = count_parameters(model_class, config)
    weights = archive.weights(encoder_size)
    if encoder_size > (stored := sum(value.numel() for value in weights.values())):
        raise NemoError(
            f"The archive's configuration needs {encoder_size} numbers for the encoder, but its weights have only "
            f"{stored}; give an archive that NeMo wrote."
        )
    model = model_class(config).eval()
    load_encoder_weights(model.encoder, weights, path)
    load_constants(model.front_end.log_mel, weights, nemo["preprocessor"])
    return model


def count_parameters(model_class, config) -> int:
    """Parameters of the encoder. Nothing is allocated: they are counted on the meta device.

    Raises:
        NemoError: The configuration describes an encoder that is larger than any.
    """
    if config.num_layers > MAX_LAYERS:
        raise NemoError(f"The archive's encoder has n_layers={config.num_layers}; at most {MAX_LAYERS} are supported.")
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in model_class(config).encoder.parameters())
    except (RuntimeError, TypeError, OverflowError) as error:  # a size that fits in no integer of torch
        raise NemoError(
            "The archive's configuration describes an encoder of more numbers than torch counts."
        ) from error

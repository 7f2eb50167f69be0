"""Converts NVIDIA NeMo checkpoints (.nemo) of (Fast)Conformer models, without NeMo.

Every setting of the archive is converted or refused by name, and every weight of its encoder is used exactly once.
"""

from pathlib import Path

import torch

from .nemo_archive import NemoError, read_archive
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
    """
    nemo, weights = read_archive(path, show_progress)
    settings = front_end_settings(nemo["preprocessor"]) | encoder_settings(nemo["encoder"])
    if settings["n_mels"] != nemo["encoder"]["feat_in"]:
        raise NemoError(
            f"The archive's preprocessor makes {settings['n_mels']} features, but its encoder takes "
            f"feat_in={nemo['encoder']['feat_in']}."
        )
    config = build_config(settings, overrides)
    check_size(model_class, config, weights)
    model = model_class(config).eval()
    load_encoder_weights(model.encoder, weights, path)
    load_constants(model.front_end.log_mel, weights, nemo["preprocessor"])
    return model


def check_size(model_class, config, weights: dict[str, torch.Tensor]) -> None:
    """Raises a NemoError if the encoder of a configuration is larger than all weights of the archive together.

    Nothing is allocated before: the parameters are counted on the meta device.
    """
    stored = sum(value.numel() for value in weights.values())
    if config.num_layers > MAX_LAYERS:
        raise NemoError(f"The archive's encoder has n_layers={config.num_layers}; at most {MAX_LAYERS} are supported.")
    with torch.device("meta"):
        needed = sum(parameter.numel() for parameter in model_class(config).encoder.parameters())
    if needed > stored:
        raise NemoError(
            f"The archive's configuration needs {needed} numbers for the encoder, but its weights have only {stored}; "
            f"give an archive that NeMo wrote."
        )

"""Converts NVIDIA NeMo checkpoints (.nemo) of (Fast)Conformer models, without NeMo.

Every setting of the archive is converted or refused by name, and every weight of its encoder is used exactly once.
"""

from pathlib import Path

from .nemo_archive import NemoError, read_archive
from .nemo_settings import build_config, encoder_settings, front_end_settings
from .nemo_weights import load_constants, load_encoder_weights


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
    model = model_class(build_config(settings, overrides)).eval()
    load_encoder_weights(model.encoder, weights, path)
    load_constants(model.front_end.log_mel, weights, nemo["preprocessor"])
    return model

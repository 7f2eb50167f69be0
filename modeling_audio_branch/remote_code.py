"""Remote code: classes that an encoder or a feature extractor brings in its own repository. They run only if trusted.

Such a class is loaded inside `allow_remote_code`, and its source files are saved with our checkpoint.
"""

import os
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from transformers import AutoModel, PreTrainedConfig
from transformers.dynamic_module_utils import custom_object_save, get_class_from_dynamic_module
from transformers.utils import logging

from .configuration_audio_branch import AudioBranchConfig

logger = logging.get_logger(__name__)

HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "revision", "token")  # settings of a download

_allowed_remote_code = ContextVar("allowed_remote_code", default=None)


@contextmanager
def allow_remote_code(repository: str, trust_remote_code: bool, **hub_kwargs):
    """Inside, encoders and feature extractors may run code from this repository or folder only, if it is trusted.

    One warning if it is a folder whose copy of Audio Branch differs from the one that runs.
    """
    if trust_remote_code and isinstance(repository, (str, os.PathLike)) and os.path.isdir(repository):
        _warn_of_other_code(Path(repository), Path(__file__).parent)
    token = _allowed_remote_code.set((repository, hub_kwargs) if trust_remote_code else None)
    try:
        yield
    finally:
        _allowed_remote_code.reset(token)


def _warn_of_other_code(folder: Path, running: Path) -> None:
    """Transformers runs the classes of an imported package, not those of a folder that is trusted to run its own."""
    if not (folder / "modeling_audio_branch.py").is_file() or folder.resolve() == running.resolve():
        return
    pairs = [(path, running / path.name) for path in sorted(folder.glob("*.py"))]
    differing = [
        path.name
        for path, other in pairs
        if other.is_file() and path.read_bytes().splitlines() != other.read_bytes().splitlines()
    ]
    if differing:
        logger.warning_once(
            f"{folder} has its own code, but that of {running} runs, which differs in {', '.join(differing)}; to run "
            f"the folder's code, load it by AutoModel in a process that does not import modeling_audio_branch."
        )


def auto_model_class(repository, trust_remote_code: bool = False, **hub_kwargs) -> type:
    """AutoModel, or the model class that a trusted repository brings.

    AutoModel remembers the model class of a configuration class. Of two folders with one name and the same
    configuration code, it would load the second with the first's model class.
    """
    settings, _ = PreTrainedConfig.get_config_dict(repository, **hub_kwargs)
    reference = settings.get("auto_map", {}).get("AutoModel")
    if not trust_remote_code or reference is None:
        return AutoModel
    model_class = get_class_from_dynamic_module(reference, repository, **hub_kwargs)
    model_class.register_for_auto_class("AutoModel")
    return model_class


def remote_code_class(settings: dict, auto_class: str) -> type:
    """The class that an encoder's or extractor's settings name under `auto_map`, from the trusted repository.

    Raises:
        ValueError: The code is not trusted, or it is in another repository.
    """
    reference = settings["auto_map"][auto_class]
    if _allowed_remote_code.get() is None:
        raise ValueError(
            f"The encoder brings its own code, {reference}; read it, then pass trust_remote_code=True to "
            f"from_pretrained of AudioBranchModel and AudioBranchFeatureExtractor, or to from_encoder, to run it."
        )
    if "--" in reference:
        raise ValueError(
            f"The encoder's code is in another repository, {reference}, which is not trusted; use from_encoder with "
            f"that repository."
        )
    repository, hub_kwargs = _allowed_remote_code.get()
    return get_class_from_dynamic_module(reference, repository, **hub_kwargs)


def is_remote_code(instance) -> bool:
    """Whether the class of this model or feature extractor was loaded from a repository."""
    return type(instance).__module__.startswith("transformers_modules.")


def remote_code_settings(settings: dict) -> dict:
    """The same settings, with an `auto_map` that names files in the same folder, where our checkpoint saves them."""
    auto_map = {name: reference.split("--")[-1] for name, reference in settings.get("auto_map", {}).items()}
    return settings | {"auto_map": auto_map}


def save_remote_code(instances: list, save_directory) -> None:
    """Saves the source files of these instances' classes."""
    for instance in instances:
        custom_object_save(instance, save_directory)


def hub_kwargs_in(kwargs: dict) -> dict:
    """Those of the arguments that are settings of a download."""
    return {name: value for name, value in kwargs.items() if name in HUB_KWARGS}


def split_hub_kwargs(settings_and_hub_kwargs: dict) -> tuple[dict, dict]:
    """Settings of [`AudioBranchConfig`], and those of a download.

    Raises:
        TypeError: A name is neither.
    """
    known = {*AudioBranchConfig.__dataclass_fields__, *AudioBranchConfig.attribute_map, "num_labels"}
    if unknown := settings_and_hub_kwargs.keys() - known - set(HUB_KWARGS):
        raise TypeError(
            f"{', '.join(sorted(unknown))}: neither a setting of AudioBranchConfig nor one of the download "
            f"({', '.join(HUB_KWARGS)})."
        )
    hub_kwargs = hub_kwargs_in(settings_and_hub_kwargs)
    return {name: value for name, value in settings_and_hub_kwargs.items() if name not in hub_kwargs}, hub_kwargs

"""Remote code: classes that an encoder or a feature extractor brings in its own repository. They run only if trusted.

Such a class is loaded inside `allow_remote_code`, and its source files are saved with our checkpoint.
"""

from contextlib import contextmanager
from contextvars import ContextVar

from transformers.dynamic_module_utils import custom_object_save, get_class_from_dynamic_module

from .configuration_audio_branch import AudioBranchConfig

HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "revision", "token")  # settings of a download

_allowed_remote_code = ContextVar("allowed_remote_code", default=None)


@contextmanager
def allow_remote_code(repository: str, trust_remote_code: bool, **hub_kwargs):
    """Inside, encoders and feature extractors may run code from this repository or folder only, if it is trusted."""
    token = _allowed_remote_code.set((repository, hub_kwargs) if trust_remote_code else None)
    try:
        yield
    finally:
        _allowed_remote_code.reset(token)


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
    hub_kwargs = {name: value for name, value in settings_and_hub_kwargs.items() if name in HUB_KWARGS}
    return {name: value for name, value in settings_and_hub_kwargs.items() if name not in HUB_KWARGS}, hub_kwargs

"""Renames the weights of a NeMo state dict to ours, and loads them: every encoder weight exactly once."""

import re

import torch
from torch import nn

from .errors import NemoError

# NeMo's names of the weights, without the prefix `encoder.`, and ours.
RENAMED = [
    (r"pre_encode\.pre_encode\.(.*)", r"pre_encode.\1"),  # NEST with masking after the subsampling
    (r"pre_encode\.(?:out\.)?(weight|bias)", r"subsampling.linear.\1"),
    (r"(layers\.\d+\.)norm_self_att\.(.*)", r"\1norm_self_attn.\2"),
    (r"(layers\.\d+\.self_attn\.)linear_out\.(.*)", r"\1o_proj.\2"),
    (r"(layers\.\d+\.self_attn\.)linear_pos\.(.*)", r"\1relative_k_proj.\2"),
    (r"(layers\.\d+\.self_attn\.)pos_bias_([uv])", r"\1bias_\2"),
    (r"(layers\.\d+\.conv\.)pointwise_conv([12])\.(.*)", r"\1pointwise\2.\3"),
    (r"(layers\.\d+\.conv\.)depthwise_conv\.(.*)", r"\1depthwise.\2"),
    (r"(layers\.\d+\.conv\.)batch_norm\.(.*)", r"\1norm.\2"),
]
PROJECTION = re.compile(r"(layers\.\d+\.self_attn\.)(linear|global)_([qkv])\.(weight|bias)")
TRAINING_ONLY = re.compile(r"pre_encode\.masking\..*")  # the mask embedding of self-supervised training
MAX_NAMES, MAX_NAME_LENGTH = 2, 60  # in a message
# The settings with which we compute the constants that an archive lacks.
COMPUTED_CONSTANTS = {
    "window": {"window": ("hann",)},
    "fb": {"lowfreq": (0,), "highfreq": (None,), "mel_norm": ("slaney",)},
}


def encoder_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder's weights of a NeMo state dict under our names; weights of other parts are left out."""
    renamed, projections = {}, {}
    has_separable_stages = any(re.fullmatch(r"encoder\.(pre_encode\.)+conv\.3\.weight", key) for key in weights)
    for key, value in weights.items():
        name = key.removeprefix("encoder.")
        if name == key or TRAINING_ONLY.fullmatch(name):
            continue
        if match := PROJECTION.fullmatch(name):
            layer, kind, part, suffix = match.groups()
            target = f"{layer}{'qkv_proj' if kind == 'linear' else 'global_qkv_proj'}.{suffix}"
            projections.setdefault(target, {})[part] = value
            continue
        name = _rename(name, has_separable_stages)
        if name in renamed:
            raise NemoError(f"The archive's encoder has two weights for {name:.100}: {key:.100} is the second.")
        if name.endswith(("pointwise1.weight", "pointwise2.weight")):
            value = value.squeeze(-1)  # a convolution over one frame is a linear layer
        renamed[name] = value
    return renamed | _joined_projections(projections)


def _rename(name: str, has_separable_stages: bool) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(f"^{pattern}$", replacement, name)
    if match := re.fullmatch(r"pre_encode\.conv\.(\d+)\.(weight|bias)", name):
        return _subsampling_name(int(match[1]), match[2], has_separable_stages)
    return name


def _subsampling_name(index: int, suffix: str, has_separable_stages: bool) -> str:
    """NeMo numbers the convolutions with the ReLUs between them: 0 | 2, 3 | 5, 6 (depthwise separable) or 0 | 2 | 4."""
    if has_separable_stages:
        stage, position = ((index + 1) // 3, (index + 1) % 3) if index else (0, 0)
    else:
        stage, position = index // 2, 0
    return f"subsampling.stages.{stage}.{position}.{suffix}"


def _joined_projections(projections: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Queries, keys and values are one projection in our encoder."""
    for target, parts in projections.items():
        if parts.keys() != set("qkv"):
            raise NemoError(
                f"The archive's encoder has only {', '.join(sorted(parts))} of q, k and v for {target:.100}."
            )
    return {target: torch.cat([parts[part] for part in "qkv"]) for target, parts in projections.items()}


def _first_names(keys: list[str]) -> str:
    names = ", ".join(key[:MAX_NAME_LENGTH] for key in keys[:MAX_NAMES])
    return names if len(keys) <= MAX_NAMES else f"{names} and {len(keys) - MAX_NAMES} more"


def load_encoder_weights(encoder: nn.Module, weights: dict[str, torch.Tensor], path) -> None:
    """Loads the encoder's weights of a NeMo state dict; raises a NemoError that names weights that don't fit."""
    given, expected = encoder_weights(weights), encoder.state_dict()
    common = sorted(given.keys() & expected.keys())
    problems = {
        "unknown": sorted(given.keys() - expected.keys()),
        "missing": sorted(expected.keys() - given.keys()),
        "of another shape": [key for key in common if given[key].shape != expected[key].shape],
    }
    if any(problems.values()):
        lists = "; ".join(f"{problem}: {_first_names(keys)}" for problem, keys in problems.items() if keys)
        raise NemoError(f"The weights in {path} don't fit its configuration: {lists}.")
    encoder.load_state_dict(given)


def load_constants(log_mel: nn.Module, weights: dict[str, torch.Tensor], preprocessor: dict) -> None:
    """Loads the window and the mel filters of the archive, which some archives hold rounded to bfloat16.

    Raises:
        NemoError: The archive lacks one of them, and its settings ask for one that we don't compute.
    """
    for name, key in (("window", "window"), ("mel_filters", "fb")):
        stored = weights.get(f"preprocessor.featurizer.{key}")
        if stored is None:
            _check_computed(key, preprocessor, nyquist=log_mel.sampling_rate / 2)
            continue
        stored = stored.float().squeeze(0)
        log_mel.load_constant(name, stored.T if name == "mel_filters" else stored)


def _check_computed(key: str, preprocessor: dict, nyquist: float) -> None:
    for setting, allowed in COMPUTED_CONSTANTS[key].items():
        value = preprocessor.get(setting, allowed[0])
        if value not in allowed and not (setting == "highfreq" and value == nyquist):
            raise NemoError(
                f"The archive's preprocessor has {setting}={value!r:.100}, but the archive lacks the weight "
                f"preprocessor.featurizer.{key}, and we compute it for {setting}={allowed[0]!r} only."
            )

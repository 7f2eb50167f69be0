"""Translates NeMo's settings into those of [`AudioBranchConfig`]."""

import re

from huggingface_hub.errors import StrictDataclassError

from ..configuration_audio_branch import AudioBranchConfig
from .errors import NemoError
from .nemo_sections import ENCODER, LARGEST_NUMBER, LOG_ZERO_GUARDS, PREPROCESSOR

MAX_SAMPLES = 1_000_000
# NeMo's names of the settings whose values AudioBranchConfig may refuse, by our names.
NEMO_NAMES = {
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "subsampling_channels": "subsampling_conv_channels",
    "attention_chunked=True": "att_context_style='chunked_limited'",
    "attention_window": "att_context_size",
    "conv_context": "conv_context_size",
    "n_mels": "features",
    "win_length": "n_window_size",
    "hop_length": "n_window_stride",
    "preemphasis": "preemph",
    "normalize_mean": "fixed_mean",
    "normalize_deviation": "fixed_std",
}


def front_end_settings(preprocessor: dict) -> dict:
    """The settings of a NeMo `preprocessor` section under the names of [`AudioBranchConfig`]."""
    nemo = PREPROCESSOR.complete(preprocessor)
    win_length = _samples(nemo, "n_window_size", "window_size")
    return {
        "sample_rate": nemo["sample_rate"],
        "n_mels": nemo["features"],
        "win_length": win_length,
        "hop_length": _samples(nemo, "n_window_stride", "window_stride"),
        "n_fft": nemo["n_fft"] or 1 << (int(win_length) - 1).bit_length(),
        "preemphasis": nemo["preemph"] or 0.0,
        "mag_power": nemo["mag_power"],
        "log_zero_guard_type": nemo["log_zero_guard_type"],
        "log_zero_guard_value": float(LOG_ZERO_GUARDS.get(nemo["log_zero_guard_value"], nemo["log_zero_guard_value"])),
        **_normalization(nemo["normalize"]),
    }


def _samples(nemo: dict, samples: str, seconds: str) -> int:
    """A length that NeMo gives in samples or in seconds."""
    if nemo[samples]:
        return nemo[samples]
    length = (nemo[seconds] or 0) * nemo["sample_rate"]
    if length > MAX_SAMPLES:
        raise NemoError(f"The archive's preprocessor has {seconds}={nemo[seconds]!r:.100}, more than any sound lasts.")
    return int(length)


def _normalization(normalize) -> dict:
    """NeMo normalizes by two words or by a dictionary of fixed numbers; by any other value it does not normalize."""
    if isinstance(normalize, dict) and {"fixed_mean", "fixed_std"} <= normalize.keys():
        for name in ("fixed_mean", "fixed_std"):
            values = normalize[name]
            if not (isinstance(values, list) and all(isinstance(value, (int, float)) for value in values)):
                raise NemoError(
                    f"The archive's preprocessor has normalize with {name}={values!r:.100}; it must be a list of "
                    f"numbers."
                )
        return {
            "normalize": "fixed",
            "normalize_mean": [float(value) for value in normalize["fixed_mean"]],
            "normalize_deviation": [float(value) for value in normalize["fixed_std"]],
        }
    return {"normalize": normalize if normalize in ("per_feature", "all_features") else "none"}


def encoder_settings(encoder: dict) -> dict:
    """The settings of a NeMo `encoder` section under the names of [`AudioBranchConfig`]."""
    nemo = ENCODER.complete(encoder)
    for name in ("n_layers", "d_model", "n_heads", "feat_in"):
        if not isinstance(nemo[name], int) or not 1 <= nemo[name] < LARGEST_NUMBER:
            raise NemoError(
                f"The archive's encoder has {name}={nemo[name]!r:.100}; it must be a number of at least 1 and below "
                f"2**31."
            )
    kernel, channels = nemo["conv_kernel_size"], nemo["subsampling_conv_channels"]
    return {
        "num_layers": nemo["n_layers"],
        "d_model": nemo["d_model"],
        "num_heads": nemo["n_heads"],
        "ff_expansion_factor": nemo["ff_expansion_factor"],
        "subsampling": nemo["subsampling"] if nemo["subsampling_factor"] > 1 else "none",
        "subsampling_factor": nemo["subsampling_factor"],
        "subsampling_channels": nemo["d_model"] if channels == -1 else channels,
        "causal_subsampling": bool(nemo["causal_downsampling"]),
        "position_embedding": "relative",
        **_attention_settings(nemo),
        "conv_kernel_size": kernel,
        "conv_context": [kernel - 1, 0] if nemo["conv_context_size"] == "causal" else nemo["conv_context_size"],
        "conv_norm": nemo["conv_norm_type"].removesuffix("_norm"),
        "use_bias": bool(nemo["use_bias"]),
        "scale_input": bool(nemo["xscaling"]),
        "dropout": float(nemo["dropout"]),
    }


def _attention_settings(nemo: dict) -> dict:
    """Which frames an encoder frame attends to."""
    context = _attention_context(nemo)
    is_full = context == [-1, -1]
    is_local = nemo["self_attention_model"] == "rel_pos_local_attn"
    if is_local and (context[0] != context[1] or context[0] < 1):
        raise NemoError(
            f"The archive's encoder has local attention with att_context_size={context}, which is not supported; only "
            f"the same number of frames on both sides is."
        )
    if nemo["global_tokens"] and not is_local:
        raise NemoError("The archive's encoder has global_tokens without local attention, which is not supported.")
    projections = "separate" if nemo["global_attn_separate"] else "shared"
    return {
        "attention_window": None if is_full else context,
        "attention_chunked": nemo["att_context_style"] == "chunked_limited" and not is_full and not is_local,
        "global_attention": projections if nemo["global_tokens"] else "none",
    }


def _attention_context(nemo: dict) -> list[int]:
    """The frames [left, right] that NeMo attends to in inference; -1 is all."""
    context = nemo["att_context_size"] or [-1, -1]
    if isinstance(context, list) and isinstance(context[0], list):
        context = context[0]  # a choice for streaming, of which NeMo's default is the first
    if nemo["att_context_style"] == "chunked_limited_with_rc":  # chunks in training only, full context in inference
        context = [-1, -1]
    if not (isinstance(context, list) and len(context) == 2 and all(isinstance(side, int) for side in context)):
        raise NemoError(f"The archive's encoder has att_context_size={context!r:.100}; it must be two whole numbers.")
    return context


def build_config(settings: dict, overrides: dict) -> AudioBranchConfig:
    """The configuration with an archive's settings and the caller's.

    Raises:
        NemoError: The archive's settings are impossible; the message uses NeMo's names.
        StrictDataclassError: The caller's settings are impossible.
    """
    try:
        AudioBranchConfig(**settings)
    except StrictDataclassError as error:
        names = "|".join(map(re.escape, NEMO_NAMES))
        reason = str(error.__cause__ or error).splitlines()[0]
        reason = re.sub(rf"\b({names})\b", lambda match: NEMO_NAMES[match[0]], reason)
        raise NemoError(f"The archive has a setting that is not supported: {reason}") from error
    return AudioBranchConfig(**(settings | overrides))

"""Checks of [`AudioBranchConfig`]: each raises a ValueError that says what was given and what is allowed."""

import math
from dataclasses import fields

MAX_INTEGER = 2**31  # of any setting
MAX_LABELS = 1_000_000  # Transformers makes a name for each
MAX_LOG_MEL = 1e6  # of the fixed mean and deviation


def check_settings(config) -> None:
    """Raises a ValueError unless the settings of a configuration are possible, each and together."""
    for check in (_check_numbers, _check_sizes, _check_front_end, _check_attention, _check_convolutions):
        check(config)


def check_other_settings(config_class: type, settings: dict) -> None:
    """Raises a ValueError if settings that only Transformers knows would run for long, or replace a method."""
    for name, value in settings.items():
        if is_part_of(config_class, name):
            raise ValueError(f"{config_class.__name__} has no setting {name!a:.100}; leave it out.")
        if name in ("auto_map", "custom_pipelines", "rope_parameters", "rope_scaling"):
            if not isinstance(value, dict | None):
                raise ValueError(f"{name}={value!a:.100} is impossible: give a dictionary, or leave it out.")
        if name == "num_labels" and not (isinstance(value, int | None) and 0 <= (value or 0) <= MAX_LABELS):
            raise ValueError(f"num_labels={shown(value)} is impossible: give a whole number from 0 to {MAX_LABELS}.")


def is_part_of(owner: type, name: str) -> bool:
    """Whether an attribute of this name would replace a method of the class, or something of Python's own."""
    return callable(getattr(owner, name, None)) or name.startswith("__")


def shown(value) -> str:
    """A setting in a message: at most 100 characters, all printable."""
    try:
        return f"{value!a:.100}"
    except ValueError:  # Python prints integers of up to 4300 digits
        return "a number of thousands of digits"


def _check_numbers(config):
    for name in (field.name for field in fields(config)):
        value = getattr(config, name)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name}={shown(value)} is impossible: give finite numbers.")
            if isinstance(number, int) and abs(number) >= MAX_INTEGER:
                raise ValueError(f"{name}={shown(value)} is impossible: give whole numbers under {MAX_INTEGER}.")


def _check_sizes(config):
    at_least_one = (
        "feature_dim num_layers d_model num_heads num_segments sample_rate n_mels n_fft hop_length win_length "
        "subsampling_channels ff_expansion_factor conv_kernel_size"
    ).split()
    for name in at_least_one:
        if getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)} is impossible: give a whole number of at least 1.")
    for name, most in {"n_fft": 32768, "n_mels": 1024}.items():  # filters of 67 MB
        if getattr(config, name) > most:
            raise ValueError(f"{name}={getattr(config, name)} is impossible: give at most {most}.")
    for name in ("num_time_masks", "num_freq_masks", "freq_mask_width"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name}={getattr(config, name)} is impossible: give 0 (off) or more.")
    if config.segmentation == "learned" and config.pooling_type not in ("attention", "avg"):
        raise ValueError(
            f"segmentation='learned' with pooling_type={config.pooling_type!r} is impossible: it goes with 'attention' "
            f"and 'avg'."
        )
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout={config.dropout} is impossible: give a probability of at least 0 and under 1.")
    if not 0 <= config.time_mask_ratio <= 1:
        raise ValueError(f"time_mask_ratio={config.time_mask_ratio} is impossible: give a part of the clip, 0 to 1.")


def _check_front_end(config):
    if config.n_fft % 2 or config.n_fft < config.win_length:
        raise ValueError(
            f"n_fft={config.n_fft} with win_length={config.win_length} is impossible: n_fft must be even and at least "
            f"win_length."
        )
    if config.hop_length > config.win_length:
        raise ValueError(
            f"hop_length={config.hop_length} skips samples: give at most win_length={config.win_length} samples."
        )
    if not 0 < config.mag_power <= 4:
        raise ValueError(f"mag_power={config.mag_power} is impossible: give a positive number up to 4, such as 2.")
    if abs(config.preemphasis) > 1:
        raise ValueError(f"preemphasis={config.preemphasis} is impossible: give a number from -1 to 1, such as 0.97.")
    if config.log_zero_guard_value > 1:
        raise ValueError(f"log_zero_guard_value={config.log_zero_guard_value} hides speech: give a number up to 1.")
    if config.log_zero_guard_value < 1e-38:  # 0 in float32
        raise ValueError(
            f"log_zero_guard_value={config.log_zero_guard_value} leaves the logarithm of 0: give a positive number, "
            f"at least 1e-38."
        )
    for name in ("normalize_mean", "normalize_deviation"):
        value = getattr(config, name)
        if (config.normalize == "fixed") != (value is not None) or (value is not None and len(value) != config.n_mels):
            raise ValueError(
                f"normalize={config.normalize!r} with {'no' if value is None else len(value)} numbers in {name} is "
                f"impossible: 'fixed' goes with n_mels={config.n_mels} numbers, all others with None."
            )
        if value is not None and max(map(abs, value)) > MAX_LOG_MEL:
            raise ValueError(
                f"{name} has numbers beyond {MAX_LOG_MEL:.0e}, as no log-mel frame has; give smaller ones."
            )
    if config.trim_top_db is not None and config.trim_top_db <= 0:
        raise ValueError(f"trim_top_db={config.trim_top_db} is impossible: give decibels, such as 35, or None.")
    if config.normalize_deviation is not None and min(config.normalize_deviation) < 1e-6:
        raise ValueError("normalize_deviation has numbers under 1e-6, which can't be divided by; give larger ones.")


def _check_attention(config):
    if config.d_model % config.num_heads:
        raise ValueError(
            f"d_model={config.d_model} does not split over num_heads={config.num_heads}: give a multiple of num_heads."
        )
    if config.encoder_config is not None:
        return  # the rest concerns our own encoder
    if config.position_embedding == "rotary" and (config.d_model // config.num_heads) % 2:
        raise ValueError(
            f"position_embedding='rotary' turns pairs of numbers, so d_model/num_heads must be even, not "
            f"{config.d_model}/{config.num_heads}={config.d_model // config.num_heads}."
        )
    if config.position_embedding == "relative" and config.d_model % 2:
        raise ValueError(f"position_embedding='relative' needs an even d_model, not {config.d_model}.")
    window = config.attention_window
    possible = len(window) == 2 and min(window) >= -1 if isinstance(window, list) else window is None or window >= 1
    if not possible:
        raise ValueError(
            f"attention_window={shown(window)} is impossible: give encoder frames per side, at least 1, or "
            f"[left, right], each at least 0 or -1 for all, or None for full attention."
        )
    left, right = config.attention_context
    if config.attention_chunked and right < 0:
        raise ValueError(
            f"attention_chunked=True with attention_window={window} is impossible: chunks are right + 1 frames "
            f"long, so give [left, right] with right at least 0."
        )
    if config.global_attention != "none" and (config.attention_chunked or left < 0 or left != right):
        raise ValueError(
            f"global_attention={config.global_attention!r} with attention_window={window} is impossible: it goes "
            f"with the same number of frames on each side, and not with attention_chunked."
        )


def _check_convolutions(config):
    if config.conv_kernel_size % 2 == 0:
        raise ValueError(f"conv_kernel_size={config.conv_kernel_size} has no middle: give an odd number.")
    context = config.conv_context
    if context is not None and (len(context) != 2 or min(context) < 0 or sum(context) != config.conv_kernel_size - 1):
        raise ValueError(
            f"conv_context={shown(context)} does not fit conv_kernel_size={config.conv_kernel_size}: give "
            f"[left, right], at least 0 each, that add up to {config.conv_kernel_size - 1}."
        )
    allowed = (1,) if config.subsampling == "none" else (2, 4, 8)
    if config.subsampling_factor not in allowed:
        raise ValueError(
            f"subsampling={config.subsampling!r} with subsampling_factor={config.subsampling_factor} is impossible: "
            f"'none' goes with 1, 'striding' and 'dw_striding' with 2, 4 or 8."
        )

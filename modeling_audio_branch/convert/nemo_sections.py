"""The settings in NeMo's configuration that are known: their defaults, the values supported, and which are ignored.

Defaults are those of NeMo's `AudioToMelSpectrogramPreprocessor.__init__` and `ConformerEncoder.__init__`.
"""

import math
from dataclasses import dataclass, field

import torch

from .errors import NemoError

LOG_ZERO_GUARDS = {"tiny": torch.finfo(torch.float32).tiny, "eps": torch.finfo(torch.float32).eps}
LARGEST_NUMBER = 2**31


@dataclass(frozen=True)
class Section:
    """One section of NeMo's configuration.

    Args:
        name: The section's name.
        target: The only NeMo class that is supported.
        defaults: The settings that are converted, with NeMo's defaults. A number as default requires a number.
        supported: The supported values of settings of which only some are.
        ignored: Settings that don't change what inference computes.
        alternatives: For settings that must be numbers, the values allowed in place of a number.
    """

    name: str
    target: str
    defaults: dict
    supported: dict[str, tuple]
    ignored: frozenset[str]
    alternatives: dict[str, tuple] = field(default_factory=dict)

    def complete(self, given: dict) -> dict:
        """The given settings with NeMo's defaults.

        Raises:
            NemoError: A setting is unknown, or has a value that is not supported.
        """
        if str(given.get("_target_", "")).split(".")[-1] != self.target:
            raise NemoError(
                f"The archive's {self.name} is {given.get('_target_')!r:.100}; only {self.target} is supported."
            )
        for name, value in given.items():
            self._check_supported(name, value)
        settings = self.defaults | given
        for name in self.defaults:
            self._check_number(name, settings[name])
        return settings

    def _check_supported(self, name, value):
        setting = f"The archive's {self.name} has {name}={value!r:.100}"
        if name in self.supported and value not in self.supported[name]:
            allowed = " or ".join(map(repr, self.supported[name]))
            raise NemoError(f"{setting}, which is not supported; only {allowed} is.")
        known = self.defaults.keys() | self.supported.keys() | self.ignored
        if name not in known and value not in (None, False):
            raise NemoError(f"{setting}, a setting that is not supported.")

    def _check_number(self, name, value):
        alternatives = self.alternatives.get(name, ())
        if not alternatives and type(self.defaults[name]) not in (int, float):
            return
        is_number = isinstance(value, (int, float)) and math.isfinite(value) and abs(value) < LARGEST_NUMBER
        if not is_number and value not in alternatives:
            raise NemoError(f"The archive's {self.name} has {name}={value!r:.100}; it must be a number below 2**31.")


PREPROCESSOR = Section(
    name="preprocessor",
    target="AudioToMelSpectrogramPreprocessor",
    defaults={
        "sample_rate": 16000,
        "window_size": 0.02,
        "window_stride": 0.01,
        "n_window_size": None,
        "n_window_stride": None,
        "window": "hann",
        "normalize": "per_feature",
        "n_fft": None,
        "preemph": 0.97,
        "features": 64,
        "log_zero_guard_type": "add",
        "log_zero_guard_value": 2**-24,
        "mag_power": 2.0,
    },
    supported={
        "log": (True,),
        "log_zero_guard_type": ("add", "clamp"),
        "frame_splicing": (1,),
        "exact_pad": (False,),
        "stft_exact_pad": (False,),
    },
    ignored=frozenset(
        "_target_ lowfreq highfreq dither pad_to pad_value rng nb_augmentation_prob nb_max_freq mel_norm "
        "use_torchaudio stft_conv padding max_duration trim_silence".split()
    ),
    alternatives={
        "log_zero_guard_value": tuple(LOG_ZERO_GUARDS),
        "window_size": (None,),
        "window_stride": (None,),
        "n_window_size": (None,),
        "n_window_stride": (None,),
        "n_fft": (None,),
        "preemph": (None,),
    },
)
ENCODER = Section(
    name="encoder",
    target="ConformerEncoder",
    defaults={
        "feat_in": None,
        "n_layers": None,
        "d_model": None,
        "subsampling": "striding",
        "subsampling_factor": 4,
        "subsampling_conv_channels": -1,
        "causal_downsampling": False,
        "ff_expansion_factor": 4,
        "self_attention_model": "rel_pos",
        "n_heads": 4,
        "att_context_size": None,
        "att_context_style": "regular",
        "xscaling": True,
        "conv_kernel_size": 31,
        "conv_norm_type": "batch_norm",
        "conv_context_size": None,
        "use_bias": True,
        "dropout": 0.1,
        "global_tokens": 0,
        "global_attn_separate": False,
    },
    supported={
        "feat_out": (-1, None),
        "reduction": (None,),
        "self_attention_model": ("rel_pos", "rel_pos_local_attn"),
        "att_context_style": ("regular", "chunked_limited", "chunked_limited_with_rc"),
        "conv_norm_type": ("batch_norm", "layer_norm"),
        "subsampling": ("striding", "dw_striding"),
        "global_tokens": (0, 1),
    },
    ignored=frozenset(
        "_target_ untie_biases pos_emb_max_len dropout_pre_encoder dropout_emb dropout_att stochastic_depth_drop_prob "
        "stochastic_depth_mode stochastic_depth_start_layer reduction_position reduction_factor global_tokens_spacing "
        "subsampling_conv_chunking_factor att_context_probs use_pytorch_sdpa use_pytorch_sdpa_backends "
        "sync_max_audio_length export_cache_support bypass_pre_encode conv_context_style att_chunk_context_size".split()
    ),
)

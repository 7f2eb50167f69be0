"""Reads NVIDIA NeMo checkpoints (.nemo) of (Fast)Conformer models, without NeMo.

    python -m modeling_audio_branch.convert.nemo parakeet-ctc-0.6b.nemo parakeet-ctc-0.6b

Every setting of the archive is carried over or refused by name, and every weight of its encoder is used exactly once.
Nothing in it is run: weights are read as plain tensors, the configuration with YAML's safe loader, and nothing is
written to disk but a temporary copy of the weights. Not shipped with checkpoints.
"""

import argparse
import math
import re
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError

import rich.progress
import torch
import yaml
from huggingface_hub.errors import StrictDataclassError
from rich.console import Console
from rich.table import Table

from ..configuration_audio_branch import AudioBranchConfig
from ..feature_extraction import AudioBranchFeatureExtractor
from ..modeling_audio_branch import AudioBranchModel

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_CONFIG_BYTES = 20_000_000
LOG_GUARDS = {"tiny": torch.finfo(torch.float32).tiny, "eps": torch.finfo(torch.float32).eps}

# What NeMo assumes where the archive is silent (AudioToMelSpectrogramPreprocessor.__init__, ConformerEncoder.__init__),
# and what a setting must be where we support no other value. Those ignored change nothing that inference computes; any
# setting that is in no list is refused.
PREPROCESSOR_DEFAULTS = {
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
}
PREPROCESSOR_REQUIRED = {
    "log": (True,),
    "log_zero_guard_type": ("add", "clamp"),
    "frame_splicing": (1,),
    "exact_pad": (False,),
    "stft_exact_pad": (False,),
}
PREPROCESSOR_IGNORED = set(
    "_target_ lowfreq highfreq dither pad_to pad_value rng nb_augmentation_prob nb_max_freq mel_norm use_torchaudio "
    "stft_conv padding max_duration trim_silence".split()
)
ENCODER_DEFAULTS = {
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
}
ENCODER_REQUIRED = {
    "feat_out": (-1, None),
    "reduction": (None,),
    "self_attention_model": ("rel_pos", "rel_pos_local_attn"),
    "att_context_style": ("regular", "chunked_limited", "chunked_limited_with_rc"),
    "conv_norm_type": ("batch_norm", "layer_norm"),
    "subsampling": ("striding", "dw_striding"),
    "global_tokens": (0, 1),
}
ENCODER_IGNORED = set(
    "_target_ untie_biases pos_emb_max_len dropout_pre_encoder dropout_emb dropout_att stochastic_depth_drop_prob "
    "stochastic_depth_mode stochastic_depth_start_layer reduction_position reduction_factor global_tokens_spacing "
    "subsampling_conv_chunking_factor att_context_probs use_pytorch_sdpa use_pytorch_sdpa_backends "
    "sync_max_audio_length export_cache_support bypass_pre_encode conv_context_style att_chunk_context_size".split()
)
# What settings may be beside a number.
NO_NUMBER = {"log_zero_guard_value": tuple(LOG_GUARDS)} | dict.fromkeys(
    ("window_size", "window_stride", "n_window_size", "n_window_stride", "n_fft", "preemph"), (None,)
)
# NeMo's names of settings whose value AudioBranchConfig may find impossible, by ours.
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
    "log_zero_guard_value": "log_zero_guard_value",
    "preemphasis": "preemph",
    "normalize_mean": "fixed_mean",
    "normalize_deviation": "fixed_std",
}


class NemoError(ValueError):
    """One sentence about what is wrong with an archive, or about what we don't support."""


def read_archive(path: str | Path, show_progress: bool = False) -> tuple[dict, dict[str, torch.Tensor]]:
    """The configuration and the weights in a .nemo archive, a plain or gzip-compressed tar.

    Raises:
        FileNotFoundError, NemoError: One sentence on a missing, truncated, foreign or hostile archive.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give the path of a .nemo archive.")
    try:
        with (
            rich.progress.open(path, "rb", description="Reading", disable=not show_progress, transient=True) as file,
            tarfile.open(fileobj=file, mode="r:*") as archive,
        ):
            members = {}
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise NemoError(f"{path} holds {member.name!r}, which points outside the archive; refusing it.")
                if name.name == WEIGHTS and len(name.parts) > 1:
                    raise NemoError(
                        f"{path} holds model-parallel weights ({member.name}); give a single-device archive."
                    )
                members[str(name)] = member
            for name in (CONFIG, WEIGHTS):
                if name not in members or not members[name].isreg():
                    raise NemoError(f"{path} has no file {name}: it is no NeMo checkpoint.")
            if members[CONFIG].size > MAX_CONFIG_BYTES:
                raise NemoError(f"{path} has a {CONFIG} of {members[CONFIG].size} bytes; refusing more than 20 MB.")
            config = yaml.safe_load(archive.extractfile(members[CONFIG]))
            with tempfile.TemporaryFile() as copy:  # weights are read in any order, which a compressed tar is slow at
                source = archive.extractfile(members[WEIGHTS])
                while block := source.read(1 << 24):
                    copy.write(block)
                copy.seek(0)
                weights = torch.load(copy, map_location="cpu", weights_only=True)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise NemoError(f"{path} can't be read as a tar archive ({_line(error)}); is it complete?") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NemoError(f"{CONFIG} in {path} can't be read as plain YAML ({_line(error)}).") from error
    except (UnpicklingError, RuntimeError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        if isinstance(error, NemoError):
            raise
        raise NemoError(f"{WEIGHTS} in {path} can't be read as plain tensors ({_line(error)}).") from error
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]
    if not isinstance(config, dict) or not all(
        isinstance(config.get(part), dict) for part in ("preprocessor", "encoder")
    ):
        raise NemoError(f"{CONFIG} in {path} has no sections 'preprocessor' and 'encoder': it is no speech encoder.")
    tensors = isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())
    if not tensors or not all(isinstance(key, str) for key in weights):
        raise NemoError(f"{WEIGHTS} in {path} is no dictionary of tensors.")
    return config, weights


def _line(error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def _settings(section: str, given: dict, defaults: dict, required: dict, ignored: set, target: str) -> dict:
    """The settings of a section with NeMo's defaults; refuses what we would compute otherwise than NeMo."""
    if str(given.get("_target_", "")).split(".")[-1] != target:
        raise NemoError(f"The archive's {section} is {given.get('_target_')!r}; only {target} is supported.")
    for name, value in given.items():
        if name in required and value not in required[name]:
            allowed = " or ".join(repr(each) for each in required[name])
            raise NemoError(f"The archive's {section} has {name}={value!r}, which is not supported; only {allowed} is.")
        if name not in defaults.keys() | required.keys() | ignored and value not in (None, False):
            raise NemoError(f"The archive's {section} has {name}={value!r}, a setting that is not supported.")
    settings = defaults | given
    for name, default in defaults.items():
        value, others = settings[name], NO_NUMBER.get(name, ())
        number = isinstance(value, (int, float)) and math.isfinite(value)
        if (others or type(default) in (int, float)) and not number and value not in others:
            raise NemoError(f"The archive's {section} has {name}={value!r}; it must be a number.")
    return settings


def front_end_settings(preprocessor: dict) -> dict:
    """A NeMo preprocessor's section in the names of [`AudioBranchConfig`]."""
    nemo = _settings(
        "preprocessor",
        preprocessor,
        PREPROCESSOR_DEFAULTS,
        PREPROCESSOR_REQUIRED,
        PREPROCESSOR_IGNORED,
        "AudioToMelSpectrogramPreprocessor",
    )
    win_length = nemo["n_window_size"] or int((nemo["window_size"] or 0) * nemo["sample_rate"])
    settings = {
        "sample_rate": nemo["sample_rate"],
        "n_mels": nemo["features"],
        "win_length": win_length,
        "hop_length": nemo["n_window_stride"] or int((nemo["window_stride"] or 0) * nemo["sample_rate"]),
        "n_fft": nemo["n_fft"] or 1 << (int(win_length) - 1).bit_length(),
        "preemphasis": nemo["preemph"] or 0.0,
        "mag_power": nemo["mag_power"],
        "log_zero_guard_type": nemo["log_zero_guard_type"],
        "log_zero_guard_value": float(LOG_GUARDS.get(nemo["log_zero_guard_value"], nemo["log_zero_guard_value"])),
        "normalize": nemo["normalize"],
    }
    if isinstance(nemo["normalize"], dict) and {"fixed_mean", "fixed_std"} <= nemo["normalize"].keys():
        settings["normalize"] = "fixed"
        for ours, name in (("normalize_mean", "fixed_mean"), ("normalize_deviation", "fixed_std")):
            values = nemo["normalize"][name]
            if not (isinstance(values, list) and all(isinstance(value, (int, float)) for value in values)):
                raise NemoError(f"The archive's preprocessor has normalize with {name} that is no list of numbers.")
            settings[ours] = [float(value) for value in values]
    elif nemo["normalize"] not in ("per_feature", "all_features"):  # NeMo normalises by no other word
        settings["normalize"] = "none"
    return settings


def encoder_settings(encoder: dict) -> dict:
    """A NeMo encoder's section in the names of [`AudioBranchConfig`]."""
    nemo = _settings("encoder", encoder, ENCODER_DEFAULTS, ENCODER_REQUIRED, ENCODER_IGNORED, "ConformerEncoder")
    for name in ("n_layers", "d_model", "n_heads", "feat_in"):
        if not isinstance(nemo[name], int) or nemo[name] < 1:
            raise NemoError(f"The archive's encoder has {name}={nemo[name]!r}; it must be a number of at least 1.")
    factor = nemo["subsampling_factor"]
    context = nemo["att_context_size"] or [-1, -1]
    if isinstance(context, list) and isinstance(context[0], list):  # to choose from when streaming: NeMo's is the first
        context = context[0]
    if nemo["att_context_style"] == "chunked_limited_with_rc":  # chunks are for training: NeMo infers with full context
        context = [-1, -1]
    if not (isinstance(context, list) and len(context) == 2 and all(isinstance(side, int) for side in context)):
        raise NemoError(f"The archive's encoder has att_context_size={context!r}; it must be two whole numbers.")
    local = nemo["self_attention_model"] == "rel_pos_local_attn"
    if local and (context[0] != context[1] or context[0] < 1):
        raise NemoError(
            f"The archive's encoder has local attention with att_context_size={context}, which is not supported; only "
            f"the same number of frames on both sides is."
        )
    if nemo["global_tokens"] and not local:
        raise NemoError("The archive's encoder has global_tokens without local attention, which is not supported.")
    kernel = nemo["conv_kernel_size"]
    conv_context = [kernel - 1, 0] if nemo["conv_context_size"] == "causal" else nemo["conv_context_size"]
    channels = nemo["subsampling_conv_channels"]
    full = context == [-1, -1]
    return {
        "num_layers": nemo["n_layers"],
        "d_model": nemo["d_model"],
        "num_heads": nemo["n_heads"],
        "ff_expansion_factor": nemo["ff_expansion_factor"],
        "subsampling": nemo["subsampling"] if factor > 1 else "none",
        "subsampling_factor": factor,
        "subsampling_channels": nemo["d_model"] if channels == -1 else channels,
        "causal_subsampling": bool(nemo["causal_downsampling"]),
        "position_embedding": "relative",
        "attention_window": None if full else context,
        "attention_chunked": nemo["att_context_style"] == "chunked_limited" and not full and not local,
        "global_attention": ("separate" if nemo["global_attn_separate"] else "shared")
        if nemo["global_tokens"]
        else "none",
        "conv_kernel_size": kernel,
        "conv_context": conv_context,
        "conv_norm": nemo["conv_norm_type"].removesuffix("_norm"),
        "use_bias": bool(nemo["use_bias"]),
        "scale_input": bool(nemo["xscaling"]),
        "dropout": float(nemo["dropout"]),
    }


# NeMo's names of the weights (within `encoder.`) and ours; the first pattern that matches a key counts.
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
NOT_INFERENCE = re.compile(r"pre_encode\.masking\..*")  # the mask embedding of self-supervised training


def encoder_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder's weights of a NeMo state dict under our names; other parts of the model are left out."""
    renamed, projections = {}, {}
    for key, value in weights.items():
        if not key.startswith("encoder.") or NOT_INFERENCE.fullmatch(key.removeprefix("encoder.")):
            continue
        name = key.removeprefix("encoder.")
        if match := PROJECTION.fullmatch(name):  # queries, keys and values are one matrix of ours
            layer, kind, part, suffix = match.groups()
            target = f"{layer}{'qkv_proj' if kind == 'linear' else 'global_qkv_proj'}.{suffix}"
            projections.setdefault(target, {})[part] = value
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(f"^{pattern}$", replacement, name)
        if match := re.fullmatch(r"pre_encode\.conv\.(\d+)\.(weight|bias)", name):
            name = _subsampling_name(int(match[1]), match[2], weights)
        if name.endswith(("pointwise1.weight", "pointwise2.weight")):
            value = value.squeeze(-1)  # a convolution over one frame is a linear layer
        if name in renamed:
            raise NemoError(f"The archive's encoder has two weights for {name}: {key} is the second.")
        renamed[name] = value
    for target, parts in projections.items():
        if parts.keys() != set("qkv"):
            raise NemoError(f"The archive's encoder has only {', '.join(sorted(parts))} of q, k and v for {target}.")
        renamed[target] = torch.cat([parts[part] for part in "qkv"])
    return renamed


def _subsampling_name(index, suffix, weights):
    """Convolutions are numbered with the ReLUs between them: 0 | 2, 3 | 5, 6 (depthwise separable) or 0 | 2 | 4."""
    separable = any(re.fullmatch(r"encoder\.(pre_encode\.)+conv\.3\.weight", key) for key in weights)
    if separable:
        stage, position = ((index + 1) // 3, (index + 1) % 3) if index else (0, 0)
    else:
        stage, position = index // 2, 0
    return f"subsampling.stages.{stage}.{position}.{suffix}"


def model_config(settings: dict, overrides: dict) -> AudioBranchConfig:
    """The configuration of an archive's settings; what it finds impossible about them is said in NeMo's names."""
    try:
        AudioBranchConfig(**settings)
    except StrictDataclassError as error:
        names = "|".join(map(re.escape, NEMO_NAMES))
        reason = str(error.__cause__ or error).splitlines()[0]
        reason = re.sub(rf"\b({names})\b", lambda match: NEMO_NAMES[match[0]], reason)
        raise NemoError(f"The archive has a setting that is not supported: {reason}") from error
    return AudioBranchConfig(**(settings | overrides))


def load_constants(model: AudioBranchModel, preprocessor: dict, weights: dict[str, torch.Tensor]) -> None:
    """The window and the mel filters as NeMo computed them, or rounded to bfloat16, as some archives have them."""
    nyquist = model.config.sample_rate / 2
    computed = {  # what they must be where the archive lacks them, for we compute no others
        "window": {"window": ("hann",)},
        "fb": {"lowfreq": (0,), "highfreq": (None, nyquist), "mel_norm": ("slaney",)},
    }
    for name, key in (("window", "window"), ("mel_filters", "fb")):
        stored = weights.get(f"preprocessor.featurizer.{key}")
        if stored is not None:
            stored = stored.float().squeeze(0)
            model.log_mel.load_constant(name, stored.T if name == "mel_filters" else stored)
            continue
        for setting, allowed in computed[key].items():
            if (value := preprocessor.get(setting, allowed[0])) not in allowed:
                raise NemoError(
                    f"The archive's preprocessor has {setting}={value!r}, but the archive lacks the weight "
                    f"preprocessor.featurizer.{key} that tells how."
                )


def load_nemo(path: str | Path, show_progress: bool = False, **overrides) -> AudioBranchModel:
    """The model of a .nemo archive; see [`AudioBranchModel.from_nemo`]."""
    config, weights = read_archive(path, show_progress)
    settings = front_end_settings(config["preprocessor"]) | encoder_settings(config["encoder"])
    if settings["n_mels"] != config["encoder"]["feat_in"]:
        raise NemoError(
            f"The archive's preprocessor makes {settings['n_mels']} features, but its encoder takes feat_in="
            f"{config['encoder']['feat_in']}."
        )
    model = AudioBranchModel(model_config(settings, overrides)).eval()

    stored = encoder_weights(weights)
    wanted = model.encoder.state_dict()
    wrong = {
        "unknown": sorted(stored.keys() - wanted.keys()),
        "missing": sorted(wanted.keys() - stored.keys()),
        "of another shape": [k for k in sorted(stored.keys() & wanted.keys()) if stored[k].shape != wanted[k].shape],
    }
    if any(wrong.values()):
        lists = "; ".join(f"{problem}: {', '.join(keys)}" for problem, keys in wrong.items() if keys)
        raise NemoError(f"The weights in {path} don't fit its configuration: {lists}.")
    model.encoder.load_state_dict(stored)
    load_constants(model, config["preprocessor"], weights)
    return model


SUMMARY = (
    "num_layers d_model num_heads subsampling subsampling_factor causal_subsampling attention_window attention_chunked "
    "global_attention conv_kernel_size conv_context conv_norm use_bias scale_input n_mels normalize"
).split()


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="the .nemo file")
    parser.add_argument("folder", type=Path, help="the checkpoint to write: a new or empty folder")
    arguments = parser.parse_args(argv)
    folder = arguments.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        print(f"{folder} exists and is not an empty folder; give another.", file=sys.stderr)
        return 1
    console = Console()
    try:
        model = load_nemo(arguments.archive, show_progress=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with console.status(f"Writing {folder}"), tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            written = Path(temporary, "checkpoint")  # moved in one go: nothing half written is left
            model.save_pretrained(written)
            AudioBranchFeatureExtractor.from_model(model).save_pretrained(written)
            if folder.exists():
                folder.rmdir()
            written.replace(folder)
    except (OSError, ValueError) as error:  # NemoError among them
        print(error, file=sys.stderr)
        return 1
    table = Table(title=f"{arguments.archive.name} in {folder}", show_header=False)
    for name in SUMMARY:
        table.add_row(name, str(getattr(model.config, name)))
    for part, count in model.num_parameters_by_part().items():
        table.add_row(f"parameters: {part}", f"{count:,}" + ("" if part in ("encoder", "total") else " (new, random)"))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`audio-branch info`: what a checkpoint is and what it can do."""

from pathlib import Path
from typing import Annotated

import torch
import typer
import yaml
from huggingface_hub import metadata_load
from rich.console import Console
from rich.table import Table

from ..check.batching import noise_clips
from ..encoding import LONG_FILE_SECONDS
from ..hub.facts import frames_per_second
from ..modeling_audio_branch import AudioBranchModel, AudioBranchPreTrainedModel
from ..streaming import is_limited
from .common import MODEL_HELP, TRUST_HELP, default_checkpoint, exit_on_error, load_model

MEASURED_SECONDS = (1.0, 3.7)  # the two clips with which the exactness is measured


def info(
    model: Annotated[str | None, typer.Argument(help=MODEL_HELP)] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Print a model's sizes and settings, whether its features depend on the batch, and what it can do."""
    with exit_on_error():
        name = model or default_checkpoint()
        rows = describe(load_model(name, trust_remote_code), Path(name))
    table = Table(title=name, show_header=False)
    for row in rows:
        table.add_row(*row)
    Console(markup=False, emoji=False, highlight=False).print(table)


def describe(model: AudioBranchPreTrainedModel, folder: Path) -> list[tuple[str, str]]:
    """Names and values of the table; the licence is read from the README.md in `folder`, if there is one."""
    config, base = model.config, model.base_model
    parameters = [(f"parameters: {part}", f"{count:,}") for part, count in model.num_parameters_by_part().items()]
    cut = "" if config.segmentation == "uniform" else ", cut by a learned mass"
    labels = list(config.id2label.values()) if base is not model else []
    return [
        *parameters,
        ("dtype", str(model.dtype).removeprefix("torch.")),
        ("encoder", encoder_kind(base)),
        ("encoder frames per second", f"{frame_rate(base):g}"),
        ("sampling rate", f"{config.sample_rate} Hz"),
        ("segments", f"{config.num_segments} of {config.feature_dim} features{cut}, pooling by {config.pooling_type}"),
        ("exactness, measured", _exactness_measured(base)),
        ("exactness, known", _exactness_known(base)),
        ("encode", "any form of audio to segment features and times"),
        ("long files", _long_files(base)),
        ("classification", ", ".join(labels) or "no; AudioBranchForAudioClassification adds a head to be trained"),
        ("licence", licence(folder) or "not stated in the folder's README.md"),
    ]


def encoder_kind(model: AudioBranchModel) -> str:
    """Architecture, layers and width of the encoder."""
    config = model.config
    size = f"{config.num_layers} layers of width {config.d_model}"
    if config.encoder_config:
        return f"{type(model.encoder.model).__name__} of Transformers, {size}"
    left, right = ("all" if side < 0 else side for side in config.attention_context)
    attention = "full attention" if (left, right) == ("all", "all") else f"attention to {left} + {right} frames"
    subsampling = f"subsampling by {config.subsampling_factor} ({config.subsampling})"
    return f"Conformer, {size}, {subsampling}, positions: {config.position_embedding}, {attention}"


def frame_rate(model: AudioBranchModel) -> float:
    """Encoder frames per second; measured for an encoder of Transformers, as each has a rule of its own."""
    return frames_per_second(model) if model.config.encoder_config else model.config.frame_rate


def batch_difference(model: AudioBranchModel) -> tuple[float, float]:
    """The largest difference between segment features of a clip alone and in a padded batch, and the largest feature.

    Measured on two clips of noise of different lengths.
    """
    rate, most = model.config.sample_rate, model.front_end.max_samples
    scale = 1.0 if most is None else min(1.0, most / rate / max(MEASURED_SECONDS))
    clips = noise_clips(rate, tuple(scale * seconds for seconds in MEASURED_SECONDS))
    batched = model.encode(clips, rate, show_progress=False).segment_features.float()
    alone = torch.stack([model.encode(clip, rate).segment_features.float() for clip in clips])
    return (batched - alone).abs().max().item(), alone.abs().max().item()


def _exactness_measured(model: AudioBranchModel) -> str:
    difference, largest = batch_difference(model)
    return f"a clip's features alone and in a batch differ by at most {difference:.1g} (the largest is {largest:.1f})"


def _exactness_known(model: AudioBranchModel) -> str:
    if not model.config.encoder_config:
        return "independent of the batch: this encoder works on valid frames only"
    if model.encoder.is_padding_invariant:
        return "independent of the batch: this architecture ignores padding"
    return "not known to ignore padding; encode(..., same_length_batches=True) gives the features of the clip alone"


def _long_files(model: AudioBranchModel) -> str:
    if model.front_end.can_stream:
        encoded = " and encoded" if is_limited(model.config) else ""
        return f"files of more than {LONG_FILE_SECONDS} s are read{encoded} block by block"
    limit = model.front_end.max_samples
    if limit is None:
        return "read whole"
    return f"refused: the encoder takes at most {limit / model.config.sample_rate:.0f} s"


def licence(folder: Path) -> str | None:
    """The licence that the metadata of a folder's README.md names."""
    readme = folder / "README.md"
    try:
        metadata = metadata_load(readme) if readme.is_file() else None
    except (ValueError, yaml.YAMLError):
        metadata = None
    return str(metadata["license"]) if metadata and metadata.get("license") else None

"""The folder of an exported model: its file, what to know to call it, and a check that it gives the same numbers."""

import copy
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from ..audio_input import load_audio
from ..feature_extraction import AudioBranchFeatureExtractor
from ..hub.writing import new_folder
from . import torch_formats
from .errors import ExportError, Int8Error
from .exportable import RAW, Exportable
from .onnx_format import quiet, run_onnx, write_int8, write_onnx
from .openvino_format import run_openvino, write_openvino, write_openvino_int8
from .parity import DURATIONS, TOLERANCE, Run, largest_difference
from .readme import write_readme

EXAMPLES = Path(__file__).parents[2] / "examples" / "audio"  # of the checkout
MEAN_COSINE, LEAST_COSINE = 0.995, 0.98  # that int8 must keep


class Format(StrEnum):
    """What a model can be exported to."""

    ONNX = "onnx"
    TORCH = "torch"
    AOTI = "aoti"
    TORCHSCRIPT = "torchscript"
    OPENVINO = "openvino"


FILES = {
    Format.ONNX: "model.onnx",
    Format.TORCH: "model.pt2",
    Format.AOTI: "model_aoti.pt2",
    Format.TORCHSCRIPT: "model_torchscript.pt",
    Format.OPENVINO: "model.xml",
}
ATTENTION = {Format.ONNX: "eager", Format.OPENVINO: "eager"}  # ONNX has no operator for sdpa
RUN: dict[Format, Callable[[Path], Run]] = {
    Format.ONNX: run_onnx,
    Format.TORCH: torch_formats.run_torch,
    Format.AOTI: torch_formats.run_aoti,
    Format.TORCHSCRIPT: torch_formats.run_torchscript,
    Format.OPENVINO: run_openvino,
}
WRITE_INT8: dict[Format, Callable[[Path, Path, Exportable], None]] = {
    Format.ONNX: write_int8,
    Format.OPENVINO: write_openvino_int8,
}


@dataclass(frozen=True)
class Report:
    """What was written and measured.

    Args:
        path: Of the exported model.
        difference: The largest from the model itself, as a part of the largest number (see `parity`).
        seconds: That the export took.
        int8_path: Of the int8 variant, if asked for.
        int8_cosine: Mean and least cosine similarity of its segments with those of float32, on recordings.
    """

    path: Path
    difference: float
    seconds: float
    int8_path: Path | None = None
    int8_cosine: tuple[float, float] | None = None


def export_model(
    model: PreTrainedModel,
    folder: str | Path,
    format: str | Format = Format.ONNX,
    source: str = RAW,
    int8: bool = False,
    audio: list[str | Path] | None = None,
    revision: str | None = None,
    name: str | None = None,
    spans: bool = False,
) -> Report:
    """Writes a model to a new folder, in a format that runs without our code, and checks its numbers.

    Args:
        model: An [`AudioBranchModel`] or a classifier. It is not changed.
        folder: New, or empty.
        format: See [`Format`].
        source: What goes in: `raw` audio, or the `features` of the feature extractor.
        int8: With `onnx`, also model_int8.onnx; with `openvino`, also model_int8.xml.
        audio: Recordings on which int8 is measured; by default the examples of the checkout.
        revision: Of the checkpoint, for the metadata.
        name: Of the model, for the metadata; by default its Hub repository, or the name of its folder.
        spans: Whether spans (batch, spans, 2), start and end in seconds, are a third input, in place of whole clips.

    Raises:
        ExportError: One sentence: the format can't carry the model, or its numbers differ. Nothing is left.
        DiskError: The folder can't be written.
        ImportError: A library of the `export` extra is missing.
    """
    if format not in list(Format):
        raise ExportError(f"format={format!r} was given; give one of {', '.join(Format)}.")
    folder, format = Path(folder), Format(format)
    if audio and not int8:
        raise ExportError("--audio is what int8 is measured on; give --int8 too, or leave --audio out.")
    if int8 and format not in WRITE_INT8:
        raise ExportError(f"--int8 goes with the formats {' and '.join(WRITE_INT8)}, not {format}; leave it out.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists and is not empty; give a new folder.")
    if format is Format.OPENVINO and source == RAW and model.config.normalize == "all_features":
        raise ExportError(
            "OpenVINO (2026.4) computes normalize='all_features' wrongly; export to onnx, or with --from features."
        )
    exportable = Exportable(model, source, ATTENTION.get(format, "sdpa"), spans)
    reference = copy.deepcopy(model).float().eval()
    about = describe(exportable, format, revision, name)
    start = time.perf_counter()
    with new_folder(folder):
        path = folder / FILES[format]
        _write(exportable, format, path, about)
        seconds = time.perf_counter() - start
        durations = DURATIONS[:2] if exportable.has_fixed_length else DURATIONS
        difference = largest_difference(exportable, reference, RUN[format](path), durations)
        if not difference <= TOLERANCE:
            raise ExportError(
                f"The exported model differs from the model by {difference:.1g} of its largest number, more than "
                f"{TOLERANCE:g}; please report this with the configuration."
            )
        report = Report(path, difference, seconds)
        if int8:
            report = _with_int8(report, format, exportable, audio)
        about |= {"largest_difference": difference, "int8_cosine": report.int8_cosine}
        (folder / "preprocess.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        write_readme(folder, about)
        if format is Format.ONNX:
            shutil.copyfile(Path(__file__).with_name("onnx_inference.py"), folder / "onnx_inference.py")
    return report


def describe(exportable: Exportable, format: Format, revision: str | None, name: str | None) -> dict:
    """What somebody needs to know to call the exported model. A local folder is named without its path."""
    config = exportable.model.config
    name = name or config._name_or_path or None
    name = Path(name).resolve().name if name and Path(name).exists() else name
    return {
        "format": str(format),
        "file": FILES[format],
        "source": exportable.source,
        "input": exportable.input_name,
        "inputs": list(exportable.input_names),
        "outputs": list(exportable.output_names),
        "sampling_rate": config.sample_rate,
        "seconds_per_frame": exportable.model.base_model.front_end.seconds_per_frame,  # of the features
        "num_segments": config.num_segments,
        "feature_dim": config.feature_dim,
        "labels": list(config.id2label.values()) if exportable.is_classifier else None,
        "tolerance": TOLERANCE,
        "model": name,
        "revision": revision or getattr(config, "_commit_hash", None),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }


def _write(exportable, format, path, about):
    if format is Format.ONNX:
        write_onnx(exportable, path, {name: json.dumps(value) for name, value in about.items()})
    elif format is Format.OPENVINO:
        onnx_path = path.with_name("model.onnx")
        write_onnx(exportable, onnx_path, {})
        write_openvino(onnx_path, path)
        onnx_path.unlink()
    else:
        write = {
            Format.TORCH: torch_formats.write_torch,
            Format.AOTI: torch_formats.write_aoti,
            Format.TORCHSCRIPT: torch_formats.write_torchscript,
        }
        write[format](exportable, path)


def _with_int8(report, format, exportable, audio):
    """Writes and measures the int8 variant."""
    clips = audio or sorted(path for path in EXAMPLES.glob("*.*") if path.suffix in (".wav", ".flac", ".ogg"))
    if not clips:
        raise Int8Error("int8 is measured on recordings, and there are none here; give some with --audio.")
    path = report.path.with_stem("model_int8")
    WRITE_INT8[format](report.path, path, exportable)
    extractor = AudioBranchFeatureExtractor.from_model(exportable.model)
    exact, small, cosines = RUN[format](report.path), RUN[format](path), []
    for clip in clips:
        inputs = _inputs(exportable, extractor, clip)
        one, other = exact(*inputs)[0], small(*inputs)[0]  # ([1,] 1, S, feature_dim)
        if not one.any():
            raise Int8Error(f"{clip} is too short for a frame; give longer recordings with --audio.")
        cosines.append((one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1))
    mean, least = float(np.mean(cosines)), float(np.min(cosines))
    if not (mean >= MEAN_COSINE and least >= LEAST_COSINE):
        raise Int8Error(
            f"int8 changes this model too much: on {len(clips)} recordings the cosine similarity of segments is "
            f"{mean:.4f} in the mean and {least:.4f} at least, and {MEAN_COSINE} and {LEAST_COSINE} are asked for; "
            f"leave --int8 out."
        )
    return replace(report, int8_path=path, int8_cosine=(mean, least))


def _inputs(exportable, extractor, clip):
    """The input of a recording, its mask, and itself as a span if there are spans."""
    if exportable.source == RAW:
        values = load_audio(clip, exportable.model.config.sample_rate).numpy()[None]
        mask = np.ones(values.shape, np.int64)
    else:
        with quiet():
            made = extractor(clip, return_tensors="np")
        values, mask = made[exportable.input_name], made["attention_mask"].astype(np.int64)
    spans = [exportable.whole_clips(torch.from_numpy(mask)).numpy()] if exportable.has_spans else []
    return values, mask, *spans

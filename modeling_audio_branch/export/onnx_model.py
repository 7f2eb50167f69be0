"""An exported folder in the place of a model: `encode` with the same outputs, by onnxruntime or OpenVINO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio_batch import as_clips
from ..audio_input import load_audio, pad_batch
from ..hub.errors import first_line
from ..outputs import AudioBranchOutput, sequence_embedding
from ..spans import find_spans, spans_of_clips
from .errors import ExportError
from .exportable import RAW
from .onnx_format import run_onnx
from .openvino_format import run_openvino

RUN = {".onnx": run_onnx, ".xml": run_openvino}


class OnnxModel:
    """A folder that `audio-branch export --format onnx` or `--format openvino` wrote, from raw audio.

    Args:
        folder: Of the exported model.
        file: Its file in the folder: model.onnx, model.xml, or model_int8 in place of model.

    Raises:
        ExportError: The folder holds no such model, or one that takes features.
        ImportError: onnxruntime or OpenVINO is not installed.
    """

    def __init__(self, folder: str | Path, file: str = "model.onnx"):
        path, about = Path(folder, file), Path(folder, "preprocess.json")
        if not path.is_file() or not about.is_file() or path.suffix not in RUN:
            raise ExportError(
                f"{folder} holds no {file} of ONNX or OpenVINO with a preprocess.json; run audio-branch export first."
            )
        try:
            self.about = json.loads(about.read_text(encoding="utf-8"))
            source, self._rate, self._names = (self.about[name] for name in ("source", "sampling_rate", "outputs"))
            self._takes_spans, self._frame_seconds = "spans" in self.about["inputs"], self.about["seconds_per_frame"]
            self._run = RUN[path.suffix](path)
        except ImportError:
            raise
        except Exception as error:  # of any runtime
            raise ExportError(f"{path} can't be opened ({first_line(error):.200}); export it again.") from error
        if source != RAW:
            raise ExportError(f"{path} takes features; export it with --from raw.")

    def encode(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        batch_size: int = 8,
        spans: Any = None,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        segment_seconds: float | None = None,
    ) -> AudioBranchOutput:
        """As [`AudioBranchModel.encode`]: audio of any form, decoded, resampled, sorted by length and batched.

        Args:
            audio: A clip or a batch of clips.
            sampling_rate: Rate in Hz of the clips that don't carry their own.
            batch_size: Clips of a call. Padding takes time: with clips of very different lengths take 1.
            spans, window_seconds, hop_seconds, segment_seconds: As [`AudioBranchModel.encode`] takes them, of a model
                that was exported with --spans.

        Raises:
            ValueError, TypeError, OSError: One sentence about an argument, or about a clip that can't be read.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} was given; give a whole number of at least 1.")
        clips, is_batch = as_clips(audio)
        wanted = spans_of_clips(spans, window_seconds, hop_seconds, segment_seconds, len(clips), is_batch)
        if wanted is not None and not self._takes_spans:
            raise ValueError("This model was exported without spans; export it with --spans, or leave them out.")
        waves = [
            load_audio(clip, self._rate, sampling_rate, index if is_batch else None) for index, clip in enumerate(clips)
        ]
        borders = self._borders(wanted, waves) if self._takes_spans else None  # (clips, N, 2)
        rows, order = [None] * len(clips), sorted(range(len(waves)), key=lambda index: len(waves[index]))
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            inputs, mask, _ = pad_batch([waves[index] for index in batch])
            ones = np.ones(inputs.shape, np.int64)  # without a mask, nothing is padded
            given = [inputs.numpy(), ones if mask is None else mask.numpy().astype(np.int64)]
            values = self._run(*given, *([borders[batch]] if self._takes_spans else []))
            if self._takes_spans and wanted is None:
                values = [value[:, 0] for value in values]
            for row, index in enumerate(batch):
                rows[index] = {name: value[row] for name, value in zip(self._names, values, strict=True)}
        outputs = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        if borders is not None and wanted is not None and not borders.any():  # no clip has a span
            outputs = {name: value[:, :0] for name, value in outputs.items()}
        outputs["sequence_embedding"] = sequence_embedding(outputs["segment_features"])
        return AudioBranchOutput(**(outputs if is_batch else {name: value[0] for name, value in outputs.items()}))

    def _borders(self, wanted, waves) -> np.ndarray:
        """The checked spans of all clips, or the whole clips, (clips, N, 2), N >= 1; zeros where a clip has fewer."""
        counts = [len(wave) // round(self._frame_seconds * self._rate) for wave in waves]
        seconds = [count * self._frame_seconds for count in counts]
        if wanted is None:
            found = [[(0.0, each)] for each in seconds]
        else:
            found = find_spans(wanted, seconds, counts, None).seconds
        borders = np.zeros((len(waves), max(1, *map(len, found)), 2), np.float32)
        for clip, pairs in enumerate(found):
            borders[clip, : len(pairs)] = np.reshape(pairs, (-1, 2))
        return borders

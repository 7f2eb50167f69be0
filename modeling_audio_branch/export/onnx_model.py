"""An exported folder in the place of a model: `encode` with the same outputs, by onnxruntime or OpenVINO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio_batch import as_clips
from ..audio_input import load_audio, pad_batch
from ..outputs import AudioBranchOutput, sequence_embedding
from .errors import ExportError
from .exportable import RAW
from .onnx_format import run_onnx, run_openvino


class OnnxModel:
    """A folder that `audio-branch export --format onnx` or `--format openvino` wrote, from raw audio.

    Args:
        folder: Of the exported model.
        file: Its file in the folder: model.onnx, model_int8.onnx or model.xml.

    Raises:
        ExportError: The folder holds no such model, or one that takes features.
        ImportError: onnxruntime or OpenVINO is not installed.
    """

    def __init__(self, folder: str | Path, file: str = "model.onnx"):
        path, about = Path(folder, file), Path(folder, "preprocess.json")
        if not path.is_file() or not about.is_file():
            raise ExportError(f"{folder} holds no {file} with a preprocess.json; run audio-branch export first.")
        self.about = json.loads(about.read_text(encoding="utf-8"))
        if self.about["source"] != RAW:
            raise ExportError(f"{path} takes features; export it with --from raw.")
        self._run = (run_openvino if path.suffix == ".xml" else run_onnx)(path)

    def encode(self, audio: Any, sampling_rate: int | None = None, batch_size: int = 8) -> AudioBranchOutput:
        """As [`AudioBranchModel.encode`]: audio of any form, decoded, resampled, sorted by length and batched.

        Args:
            audio: A clip or a batch of clips.
            sampling_rate: Rate in Hz of the clips that don't carry their own.
            batch_size: Clips of a call. Padding takes time: with clips of very different lengths take 1.

        Raises:
            ValueError, TypeError, OSError: One sentence about a clip that can't be read.
        """
        clips, is_batch = as_clips(audio)
        rate, rows = self.about["sampling_rate"], [None] * len(clips)
        waves = [load_audio(clip, rate, sampling_rate, index if is_batch else None) for index, clip in enumerate(clips)]
        order = sorted(range(len(waves)), key=lambda index: len(waves[index]))
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            inputs, mask, _ = pad_batch([waves[index] for index in batch])
            ones = np.ones(inputs.shape, np.int64)  # without a mask, nothing is padded
            values = self._run(inputs.numpy(), ones if mask is None else mask.numpy().astype(np.int64))
            for row, index in enumerate(batch):
                rows[index] = {name: value[row] for name, value in zip(self.about["outputs"], values, strict=True)}
        outputs = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        outputs["sequence_embedding"] = sequence_embedding(outputs["segment_features"])
        return AudioBranchOutput(**(outputs if is_batch else {name: value[0] for name, value in outputs.items()}))

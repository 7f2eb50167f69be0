"""Embeds clips with numpy and onnxruntime alone, in a folder that `audio-branch export --format onnx` wrote.

python onnx_inference.py one.wav two.wav      # prints the pooled vector of each as a line of JSON

from onnx_inference import Embedder
outputs = Embedder()([samples, others])       # mono, float, at the rate in preprocess.json
outputs = Embedder()([samples, others], [[(0, 1.5), (1, 2)], [(0, 3)]])  # exported with --spans: parts, in seconds
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime


class Embedder:
    """The exported model. Clips may have different lengths; padding never changes the outputs in float32.

    In int8 it does, slightly: the inputs of a layer are rounded by one scale for the whole batch.

    Args:
        folder: With model.onnx and preprocess.json; by default that of this file.
        file: Name of the model, such as model_int8.onnx.
    """

    def __init__(self, folder=None, file="model.onnx"):
        folder = Path(__file__).parent if folder is None else Path(folder)
        self.about = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
        self.session = onnxruntime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])

    def __call__(self, clips, spans=None):
        """Arrays (L,) of samples, or (T, M) of features, to a dictionary of arrays, one row for each clip.

        Args:
            clips: A list of arrays.
            spans: If the model was exported with --spans: for each clip, pairs of start and end in seconds. The arrays
                have an axis for them behind the clips, and zeros where a clip has fewer. By default whole clips.
        """
        clips, axes = [np.asarray(clip) for clip in clips], 1 if self.about["source"] == "raw" else 2
        if not clips:
            raise ValueError("No clips were given; give a list of at least one array.")
        for clip in clips:
            if clip.ndim != axes or clip.dtype.kind != "f" or not np.isfinite(clip).all():
                raise ValueError(
                    f"A clip of the shape {clip.shape} and the type {clip.dtype} was given; give a list of arrays of "
                    f"finite floating-point numbers, {'(samples,)' if axes == 1 else '(frames, bins)'} each."
                )
        longest = max(len(clip) for clip in clips)
        inputs = np.zeros((len(clips), longest, *clips[0].shape[1:]), np.float32)
        mask = np.zeros((len(clips), longest), np.int64)
        for row, clip in enumerate(clips):
            inputs[row, : len(clip)], mask[row, : len(clip)] = clip, 1
        feeds = {self.about["input"]: inputs, "attention_mask": mask}
        if "spans" in self.about["inputs"]:
            feeds["spans"] = self._spans(clips, spans)
        elif spans is not None:
            raise ValueError("This model was exported without spans; export it with --spans, or leave them out.")
        outputs = dict(zip(self.about["outputs"], self.session.run(None, feeds), strict=True))
        if spans is not None:
            check_spans(spans, outputs["segment_mask"])
        return outputs

    def _spans(self, clips, spans):
        """The spans of all clips (clips, N, 2), zeros where a clip has fewer; without spans, the whole clips."""
        if spans is None:
            unit = self.about["seconds_per_frame"]
            hop = round(unit * self.about["sampling_rate"]) if self.about["source"] == "raw" else 1
            spans = [[(0, max(len(clip) // hop, 1) * unit)] for clip in clips]
        if len(spans) != len(clips):
            raise ValueError(f"Spans of {len(spans)} clips were given; give those of each of the {len(clips)} clips.")
        try:
            pairs = [np.asarray(each, np.float32).reshape(len(each), 2) for each in spans]
        except (TypeError, ValueError) as error:
            raise ValueError("The spans are of another form; give pairs of start and end in seconds.") from error
        borders = np.zeros((len(clips), max(1, *map(len, pairs)), 2), np.float32)
        for row, each in enumerate(pairs):
            borders[row, : len(each)] = each
        return borders


def check_spans(spans, segment_mask):
    """Names a span that the model has marked as none of its clip."""
    for clip, pairs in enumerate(spans):
        for index, (start, end) in enumerate(pairs):
            if not segment_mask[clip, index].any():
                raise ValueError(
                    f"Span {index} of clip {clip} is from {start:g} to {end:g} s, but must start before it ends, both "
                    f"inside the clip."
                )


def read_wav(path, sampling_rate):
    """The mono samples of a wav file of 16 bits at this rate."""
    with wave.open(str(path), "rb") as file:
        if file.getframerate() != sampling_rate or file.getsampwidth() != 2:
            raise ValueError(f"{path} is not a wav file of 16 bits at {sampling_rate} Hz; convert it to one.")
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
    return samples.astype(np.float32).mean(1) / 32768


if __name__ == "__main__":
    embedder = Embedder()
    for name in sys.argv[1:]:
        outputs = embedder([read_wav(name, embedder.about["sampling_rate"])])
        print(json.dumps({"file": name, "pooler_output": outputs["pooler_output"][0].tolist()}))

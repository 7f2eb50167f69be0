"""The answers of the service as JSON, in the form of OpenAI's embeddings."""

import base64
import json
from typing import Any

import torch

from ..hub.handler import best_labels


def embeddings_json(
    results: list[dict[str, torch.Tensor]],
    output: str,
    encoding_format: str,
    model_name: str,
    seconds: float,
    names: dict[int, str],
) -> bytes:
    """The body of an answer.

    Args:
        results: The outputs of each clip.
        output: Which of them is the embedding: `pooler_output` (feature_dim,), `sequence_embedding` (S * feature_dim,)
            or `segment_features` (S, feature_dim).
        encoding_format: `float` for lists of numbers, or `base64` of little-endian float32, row by row.
        model_name: Of the model.
        seconds: Of audio in the request.
        names: Of the labels, for the outputs of a classifier.
    """
    data = []
    for index, result in enumerate(results):
        values = result[output].float()
        entry = {
            "object": "embedding",
            "index": index,
            "embedding": values.tolist() if encoding_format == "float" else _as_base64(values),
            "segment_times": [[round(start, 6), round(end, 6)] for start, end in result["segment_times"].tolist()],
        }
        if "logits" in result:
            entry["labels"] = best_labels(result.get("probabilities", result["logits"]), names)
        data.append(entry)
    usage = {"prompt_tokens": 0, "total_tokens": 0, "audio_seconds": round(seconds, 3)}
    return as_json({"object": "list", "data": data, "model": model_name, "usage": usage})


def error_json(status: int, sentence: str) -> bytes:
    """The body of a refusal."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return as_json({"error": {"message": sentence, "type": kind, "code": status}})


def as_json(value: Any) -> bytes:
    """JSON without NaN, which clients can't read: a ValueError if there is one."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _as_base64(values):
    return base64.b64encode(values.contiguous().numpy().astype("<f4").tobytes()).decode()

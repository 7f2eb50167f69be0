"""The answers as JSON."""

import base64
import json

import numpy as np
import pytest
import torch

from modeling_audio_branch.serve.responses import as_json, embeddings_json, error_json

RESULT = {
    "pooler_output": torch.tensor([0.5, -0.25]),
    "segment_features": torch.tensor([[1.0, 2.0], [0.1, 4.0]]),
    "segment_times": torch.tensor([[0.0, 0.1], [0.1, 0.2]]),
}


def answer(result=RESULT, output="pooler_output", form="float"):
    return json.loads(embeddings_json([result], output, form, "phrases", 0.2, {0: "no", 1: "yes"}))


def test_an_answer_has_the_form_of_openai():
    body = answer()
    assert body["object"] == "list" and body["model"] == "phrases" and body["usage"]["audio_seconds"] == 0.2
    (entry,) = body["data"]
    assert entry == {
        "object": "embedding",
        "index": 0,
        "embedding": [0.5, -0.25],
        "segment_times": [[0.0, 0.1], [0.1, 0.2]],
    }


def test_base64_and_floats_are_the_same_numbers():
    data = answer(output="segment_features", form="base64")["data"][0]["embedding"]
    decoded = np.frombuffer(base64.b64decode(data), "<f4").reshape(2, 2)
    floats = np.float32(answer(output="segment_features")["data"][0]["embedding"])
    assert np.array_equal(decoded, floats) and np.array_equal(decoded, RESULT["segment_features"].numpy())


def test_labels_are_sorted_by_their_scores():
    scores = {"logits": torch.tensor([1.0, 3.0]), "probabilities": torch.tensor([0.1, 0.9])}
    labels = answer(RESULT | scores)["data"][0]["labels"]
    assert [label["label"] for label in labels] == ["yes", "no"] and labels[0]["score"] == pytest.approx(0.9)
    regression = answer(RESULT | {"logits": torch.tensor([1.0, 3.0])})["data"][0]["labels"]
    assert regression[0] == {"label": "yes", "score": 3.0}


def test_errors_name_their_kind_and_nan_is_never_sent():
    assert json.loads(error_json(422, "No."))["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "code": 422,
    }
    assert json.loads(error_json(503, "Later."))["error"]["type"] == "server_error"
    with pytest.raises(ValueError):
        as_json([float("nan")])

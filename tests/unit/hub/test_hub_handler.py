"""handler.py in the way of an Inference Endpoint, where this package is not installed."""

import base64
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
import torch

from helpers.fresh_process import run_fresh
from helpers.models import make_model, tiny_config
from helpers.publishing import save_checkpoint
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.hub import handler
from modeling_audio_branch.hub.handler import MAX_CLIPS, EndpointHandler, audio_bytes, best_labels

CLIP = Path(__file__).parents[3] / "examples/audio/go_somewhere.flac"
TEXT = base64.b64encode(CLIP.read_bytes()).decode()
ENDPOINT = """
import base64, importlib.util, json, pathlib
spec = importlib.util.spec_from_file_location("handler", {folder!r} + "/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
endpoint = module.EndpointHandler({folder!r})
data = pathlib.Path({clip!r}).read_bytes()
text = base64.b64encode(data).decode()
uri = "data:audio/flac;base64," + text
for request in ({{"inputs": data}}, {{"inputs": [text, uri]}}, {{"inputs": uri, "parameters": {spans!r}}}):
    print(json.dumps(endpoint(request)))
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    return EndpointHandler(str(save_checkpoint(tmp_path_factory.mktemp("endpoint"))))


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_an_endpoint_answers_with_the_numbers_of_encode(model_class, tmp_path):
    choices = {"num_labels": 3}
    folder = save_checkpoint(tmp_path / "repository", model_class, **choices)
    shutil.copy(handler.__file__, folder)
    spans = {"window_seconds": 1.0, "hop_seconds": 0.5}
    output = run_fresh(ENDPOINT.format(folder=str(folder), clip=str(CLIP), spans=spans), tmp_path)
    one, two, windows = map(json.loads, output.splitlines())
    assert two == [one, one]
    model = make_model(model_class, tiny_config(**choices))
    for answer, expected in ((one, model.encode(CLIP)), (windows, model.encode(CLIP, **spans))):
        for name in ("segment_features", "segment_times", "pooler_output"):
            torch.testing.assert_close(torch.tensor(answer[name]), expected[name].float(), atol=1e-5, rtol=0)
        assert ("labels" in answer) == (model_class is AudioBranchForAudioClassification)
        if "labels" in answer:
            assert answer["labels"] == best_labels_close(expected.probabilities, answer["labels"])


def best_labels_close(probabilities, answered):
    """`answered` if its scores are the probabilities, sorted; else what it should be."""
    expected = best_labels(probabilities, {index: f"LABEL_{index}" for index in range(3)})
    pairs = zip(flat(expected), flat(answered), strict=True)
    alike = all(a["label"] == b["label"] and abs(a["score"] - b["score"]) < 1e-5 for a, b in pairs)
    return answered if alike else expected


def flat(labels):
    return [each for row in labels for each in (row if isinstance(row, list) else [row])]


@pytest.mark.parametrize(
    "request_, words",
    [
        ({}, 'no "inputs"'),
        ([], 'no "inputs"'),
        ({"inputs": []}, "0 clips"),
        ({"inputs": [TEXT] * (MAX_CLIPS + 1)}, "give 1 to 64"),
        ({"inputs": 5}, "A clip is a int"),
        ({"inputs": {"path": "/etc/passwd"}}, "A clip is a dict"),
        ({"inputs": "/etc/passwd"}, "not base64"),
        ({"inputs": "https://example.org/a.wav"}, "a URL, which is not fetched"),
        ({"inputs": "file:///etc/passwd"}, "a URL, which is not fetched"),
        ({"inputs": "data:audio/wav,xyz"}, "must begin with data:audio/wav;base64"),
        ({"inputs": ""}, "empty"),
        ({"inputs": b"no audio"}, "can't be read as audio"),
        ({"inputs": TEXT, "parameters": 5}, "The parameters are a int"),
        ({"inputs": TEXT, "parameters": {"nope": 1}}, "'nope' is not known"),
        ({"inputs": TEXT, "parameters": {"top_k": 0}}, "top_k=0"),
        ({"inputs": TEXT, "parameters": {"spans": "x"}}, "spans|Spans"),
        ({"inputs": TEXT, "parameters": {"spans": [[0, 99]]}}, "both inside the clip"),
        ({"inputs": TEXT, "parameters": {"segment_seconds": "1"}}, "segment_seconds='1'"),
        ({"inputs": TEXT, "parameters": {"spans": [[0, 1]], "window_seconds": 1}}, "give one of them"),
    ],
)
def test_wrong_requests_get_one_sentence(endpoint, request_, words):
    with pytest.raises(ValueError, match=words) as refused:
        endpoint(request_)
    assert "\n" not in str(refused.value)


def test_labels_are_cut_to_the_best():
    names = {0: "a", 1: "b", 2: "c"}
    assert [each["label"] for each in best_labels(torch.tensor([0.1, 0.6, 0.3]), names, 2)] == ["b", "c"]
    assert len(best_labels(torch.zeros(4, 3), names)) == 4


@pytest.fixture
def web():
    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/clip" else 404)
            self.end_headers()
            self.wfile.write(b"sound")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_urls_are_fetched_only_where_the_owner_says_so(web, monkeypatch):
    with pytest.raises(ValueError, match="not fetched"):
        audio_bytes(f"{web}/clip")
    monkeypatch.setenv(handler.URL_SWITCH, "1")
    assert audio_bytes(f"{web}/clip") == b"sound"
    for url, words in (
        (f"{web}/none", "can't be fetched"),
        ("file:///etc/passwd", "not fetched"),
        ("http://[", "fetched"),
    ):
        with pytest.raises(ValueError, match=words):
            audio_bytes(url)
    monkeypatch.setattr(handler, "MAX_URL_BYTES", 4)
    with pytest.raises(ValueError, match="more than 4 bytes"):
        audio_bytes(f"{web}/clip")

"""What a body may hold, and the sentence for everything else."""

import base64
import json

import pytest

from modeling_audio_branch.serve.limits import Limits, RequestError
from modeling_audio_branch.serve.requests import MAX_VALUES, EmbeddingRequest, parse_request

CLIP = base64.b64encode(b"sound").decode()
URI = f"data:audio/wav;base64,{CLIP}"


def parse(body, kind="application/json", query=None, limits=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_request(body, kind, query or {}, "phrases", limits or Limits())


@pytest.mark.parametrize(
    "given", [CLIP, URI, [URI], f"data:;base64,{CLIP}", f"DATA:audio/ogg;codecs=opus;base64,{CLIP}"]
)
def test_a_clip_is_base64_or_a_data_uri(given):
    assert parse({"input": given}).clips == [b"sound"]


def test_all_fields_are_read():
    fields = {"input": [URI, CLIP], "model": "phrases", "modality": "audio", "user": "me"}
    asked = parse(fields | {"encoding_format": "base64", "output": "segment_features"})
    assert asked == EmbeddingRequest([b"sound"] * 2, "segment_features", "base64")


@pytest.mark.parametrize("kind", ["audio/wav", "Audio/MPEG; rate=8000", "application/octet-stream"])
def test_a_body_may_be_the_file_itself(kind):
    assert parse(b"sound", kind, {"output": "pooler_output"}) == EmbeddingRequest([b"sound"], "pooler_output")
    with pytest.raises(RequestError, match="'nope'"):
        parse(b"sound", kind, {"nope": "1"})


@pytest.mark.parametrize(
    "body, status, words",
    [
        (b"", 422, "not JSON"),
        (b"\xff\xfe", 422, "not JSON"),
        (b"[" * 5000, 422, "not JSON"),
        (b"[" * 50_000, 422, f"more than {MAX_VALUES}"),
        (b"1" * 5000, 422, "not JSON"),
        ([URI], 422, "a JSON list"),
        ({}, 422, "The input is None"),
        ({"input": []}, 422, r"The input is \[\]"),
        ({"input": {"url": "x"}}, 422, "The input is"),
        ({"input": [1]}, 422, "Input 0 can't be read: A clip is a int"),
        ({"input": [URI, ""]}, 422, "Input 1 .* is empty"),
        ({"input": "https://example.org/a.wav"}, 422, "Input 0 is a URL, which is not fetched"),
        ({"input": "file:///etc/passwd"}, 422, "a URL"),
        ({"input": "/etc/passwd"}, 422, "not base64"),
        ({"input": "data:audio/wav,abc"}, 422, "must begin with data:audio/wav;base64"),
        ({"input": [URI] * 65}, 413, "at most 64"),
        ({"input": URI, "dimensions": 3}, 422, "'dimensions' is not known"),
        ({"input": URI, "modality": "text"}, 422, "give 'audio'"),
        ({"input": URI, "modality": ["audio"]}, 422, "give 'audio'"),
        ({"input": URI, "output": "logits"}, 422, "give 'pooler_output' or"),
        ({"input": URI, "encoding_format": None}, 422, "give 'float' or 'base64'"),
        ({"input": URI, "model": "gpt"}, 404, "'gpt' is not served here; give 'phrases'"),
    ],
)
def test_everything_else_is_refused_in_one_sentence(body, status, words):
    with pytest.raises(RequestError, match=words) as refused:
        parse(body)
    assert refused.value.status == status
    assert len(refused.value.sentence) < 400 and "\n" not in refused.value.sentence


def test_an_empty_file_is_refused():
    with pytest.raises(RequestError, match="empty") as refused:
        parse(b"", "audio/wav")
    assert refused.value.status == 422

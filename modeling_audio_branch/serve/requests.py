"""What the body of a request may hold: JSON like that of OpenAI's embeddings, or the bytes of one audio file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..hub.handler import audio_bytes
from .limits import Limits, RequestError

OUTPUTS = ("pooler_output", "sequence_embedding", "segment_features")
FORMATS = ("float", "base64")
FIELDS = ("input", "model", "modality", "encoding_format", "output", "user")
MAX_VALUES = 10_000  # of a body of JSON, so that parsing it takes little memory; base64 is one value
SHOWN = 60  # letters of a wrong value in a sentence


@dataclass(frozen=True)
class EmbeddingRequest:
    """A checked request.

    Args:
        clips: The bytes of an audio file each.
        output: Which of `OUTPUTS` is the embedding; None for the model's own choice.
        encoding_format: `float`, or `base64` of little-endian float32.
    """

    clips: list[bytes]
    output: str | None = None
    encoding_format: str = "float"


def parse_request(
    body: bytes, content_type: str, query: Mapping[str, str], model_name: str, limits: Limits
) -> EmbeddingRequest:
    """Checks a body.

    Args:
        body: All of it.
        content_type: `audio/...` or `application/octet-stream` for the bytes of one file; else the body is JSON.
        query: The parameters in the address, which give the fields other than `input` where the body is a file.
        model_name: What the field `model` may name.
        limits: See [`Limits`].

    Raises:
        RequestError: 413 for too many clips, 404 for another model, 422 for anything else.
    """
    kind = content_type.split(";")[0].strip().lower()
    if kind.startswith("audio/") or kind == "application/octet-stream":
        fields = {**query, "input": body}
        clips = [body]
    else:
        fields = _read_json(body)
        clips = _list_of(fields.get("input"), limits)
    if unknown := sorted(fields.keys() - {*FIELDS}):
        raise RequestError(422, f"The field {_shown(unknown[0])} is not known; allowed are {', '.join(FIELDS)}.")
    _check_choice("modality", fields.get("modality", "audio"), ("audio",))
    _check_choice("encoding_format", fields.get("encoding_format", "float"), FORMATS)
    if fields.get("output") is not None:
        _check_choice("output", fields["output"], OUTPUTS)
    name = fields.get("model")
    if name is not None and name != model_name:
        raise RequestError(404, f"The model {_shown(name)} is not served here; give {model_name!r} or leave it out.")
    if not body:
        raise RequestError(422, "The body is empty; give JSON with an input, or an audio file.")
    return EmbeddingRequest(
        [_bytes_of(clip, index) for index, clip in enumerate(clips)],
        fields.get("output"),
        fields.get("encoding_format", "float"),
    )


def _read_json(body):
    if sum(map(body.count, (b"[", b"{", b","))) > MAX_VALUES:
        raise RequestError(
            422, f"The body holds more than {MAX_VALUES} values; give each clip as one string of base64."
        )
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            422, "The body is not JSON; give an object with an input, or an audio file with the Content-Type audio/wav."
        ) from error
    if not isinstance(fields, dict):
        raise RequestError(422, f"The body is a JSON {type(fields).__name__}; give an object with an input.")
    return fields


def _list_of(value, limits):
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise RequestError(422, f"The input is {_shown(value)}; give a data URI of an audio file, or a list of them.")
    if len(value) > limits.clips:
        raise RequestError(413, f"The input has {len(value)} clips; give at most {limits.clips} in a request.")
    return value


def _bytes_of(clip: Any, index: int) -> bytes:
    if isinstance(clip, bytes):
        return clip
    if isinstance(clip, str) and "://" in clip[:12]:
        raise RequestError(422, f"Input {index} is a URL, which is not fetched; give a data URI of an audio file.")
    try:
        return audio_bytes(clip)
    except ValueError as error:
        raise RequestError(422, f"Input {index} can't be read: {error}") from error


def _check_choice(name, value, allowed):
    if not isinstance(value, str) or value not in allowed:
        raise RequestError(422, f"{name} is {_shown(value)}; give {' or '.join(map(repr, allowed))}.")


def _shown(value):
    """The beginning of a value, in ASCII without control characters."""
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

"""The handler of Hugging Face Inference Endpoints: `handler.py` of a repository, where this package is not installed.

An endpoint makes an `EndpointHandler` of the repository's folder, and calls it with the body of each request:
`{"inputs": ..., "parameters": {...}}`, or `{"inputs": bytes}` for a body of audio. An error's sentence is its answer.
"""

import base64
import binascii
import os
import re
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

import torch
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification

SPAN_PARAMETERS = ("spans", "window_seconds", "hop_seconds", "segment_seconds")
MAX_CLIPS = 64
URL_SWITCH = "AUDIO_BRANCH_FETCH_URLS"  # environment variable: 1 lets requests make the endpoint fetch URLs
MAX_URL_BYTES, URL_SECONDS = 64 * 2**20, 20
DATA_URI = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(;[\w.+=-]+)*;base64,", re.IGNORECASE)
WHITESPACE = dict.fromkeys(map(ord, " \t\r\n"))  # that base64 may be wrapped with
FORMS = "give base64 of a wav, flac, ogg or mp3 file, or a data URI"


class EndpointHandler:
    """Answers with `segment_features` (S, feature_dim), `segment_times` (S, 2) and `pooler_output` (feature_dim,).

    With spans, each has an axis N of the spans in front. A classifier adds `labels`, the best first, with scores:
    probabilities, or the values of a regressor; with spans, such a list for each.

    Args:
        path: Folder of the repository.
    """

    def __init__(self, path: str = ""):
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        is_classifier = any("AudioClassification" in name for name in config.architectures or ())
        auto_class = AutoModelForAudioClassification if is_classifier else AutoModel
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = auto_class.from_pretrained(path, trust_remote_code=True).eval().to(device)

    def __call__(self, data: dict[str, Any]) -> dict | list[dict]:
        """The answer for one clip, or a list of them for a list.

        Args:
            data: `inputs` is the bytes of an audio file, its base64, a data URI, or a list of these. `parameters` may
                hold `spans`, `window_seconds`, `hop_seconds`, `segment_seconds` (see `encode`) and `top_k` labels.

        Raises:
            ValueError: One sentence on the inputs or the parameters.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError('The request holds no "inputs"; give {"inputs": base64 of an audio file}.')
        inputs, is_batch = data["inputs"], isinstance(data["inputs"], list)
        clips = inputs if is_batch else [inputs]
        if not 1 <= len(clips) <= MAX_CLIPS:
            raise ValueError(f"The request holds {len(clips)} clips; give 1 to {MAX_CLIPS}.")
        parameters = _checked(data.get("parameters"))
        answers = [self._answer(audio_bytes(clip), **parameters) for clip in clips]
        return answers if is_batch else answers[0]

    def _answer(self, clip, top_k=None, **spans):
        try:
            output = self.model.encode(clip, show_progress=False, **spans)
        except (TypeError, OverflowError) as error:
            raise ValueError(str(error)) from error
        names = ("segment_features", "segment_times", "pooler_output")
        answer = {name: output[name].tolist() for name in names}
        if output.logits is not None:
            scores = output.logits if output.probabilities is None else output.probabilities
            answer["labels"] = best_labels(scores, self.model.config.id2label, top_k)
        return answer


def best_labels(scores: torch.Tensor, names: dict[int, str], top_k: int | None = None) -> list:
    """Scores (labels,) as dicts of `label` and `score`, the highest first; of (N, labels), a list of such lists."""
    if scores.ndim > 1:
        return [best_labels(row, names, top_k) for row in scores]
    order = scores.argsort(descending=True, stable=True).tolist()[:top_k]
    return [{"label": names[index], "score": scores[index].item()} for index in order]


def _checked(parameters):
    """The parameters that are given, by name."""
    parameters = {} if parameters is None else parameters
    allowed = [*SPAN_PARAMETERS, "top_k"]
    if not isinstance(parameters, dict):
        raise ValueError(f"The parameters are a {type(parameters).__name__}; give an object with {', '.join(allowed)}.")
    if unknown := sorted(map(str, parameters.keys() - {*allowed})):
        raise ValueError(f"The parameter {unknown[0]!r:.60} is not known; allowed are {', '.join(allowed)}.")
    top_k = parameters.get("top_k")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ValueError(f"top_k={top_k!r:.40} was given; give a whole number of at least 1.")
    return {name: value for name, value in parameters.items() if value is not None}


def audio_bytes(clip: Any) -> bytes:
    """The bytes of an audio file from bytes, base64 or a data URI. A string is never taken for a path.

    Raises:
        ValueError: One sentence. So are URLs refused, unless the endpoint's owner has set AUDIO_BRANCH_FETCH_URLS=1.
    """
    if isinstance(clip, (bytes, bytearray, memoryview)):
        return bytes(clip)
    if not isinstance(clip, str):
        raise ValueError(f"A clip is a {type(clip).__name__}; {FORMS}.")
    if re.match(r"[a-z][a-z0-9+.-]*://", clip, re.IGNORECASE):
        return _fetch(clip)
    if clip[:5].lower() == "data:":
        match = DATA_URI.match(clip[:200])
        if match is None:
            raise ValueError(
                f"A data URI begins with {clip[:30]!r}; it must begin with data:audio/wav;base64, or alike."
            )
        clip = clip[match.end() :]
    try:
        data = base64.b64decode(clip.translate(WHITESPACE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"A clip of {len(clip)} letters is not base64; {FORMS}.") from error
    if not data:
        raise ValueError(f"A clip is empty; {FORMS}.")
    return data


def _fetch(url):
    if os.environ.get(URL_SWITCH) != "1" or not re.match("https?://", url, re.IGNORECASE):
        raise ValueError(f"A clip is a URL, which is not fetched; {FORMS}.")
    try:
        with urlopen(url, timeout=URL_SECONDS) as response:
            data, promised = response.read(MAX_URL_BYTES + 1), response.headers["Content-Length"]
    except (OSError, ValueError, HTTPException) as error:
        raise ValueError(f"A clip's URL can't be fetched ({type(error).__name__}); {FORMS}.") from error
    if len(data) > MAX_URL_BYTES:
        raise ValueError(f"A clip's URL has more than {MAX_URL_BYTES} bytes; give a shorter file.")
    if promised is not None and promised.isdecimal() and len(data) < int(promised):
        raise ValueError(f"A clip's URL ended after {len(data)} of {promised} bytes; try again.")
    return data

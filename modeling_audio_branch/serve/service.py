"""The routes of the service: `/v1/embeddings`, `/v1/models`, `/health` and `/metrics`."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..modeling_audio_branch import AudioBranchPreTrainedModel
from .batcher import Batcher
from .decoding import decode_clips
from .limits import MEGABYTE, BudgetShare, ByteBudget, Limits, RequestError
from .metrics import Metrics
from .requests import EmbeddingRequest, parse_request
from .responses import as_json, embeddings_json, error_json

logger = logging.getLogger(__name__)
READERS = 2  # threads that parse and decode, so that few bodies are unpacked at a time
RETRY_SECONDS = "1"  # after a 503
CLOSED = 499  # the client has gone; nobody reads the answer
BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"input": "data:audio/wav;base64,UklGRg...", "modality": "audio"},
            },
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
        }
    }
}


@dataclass
class Service:
    """What the routes share.

    Args:
        model: In eval mode.
        name: That requests may give as `model`.
        limits: See [`Limits`].
        workers: Threads that run the model.
    """

    model: AudioBranchPreTrainedModel
    name: str
    limits: Limits = field(default_factory=Limits)
    workers: int = 1

    def __post_init__(self):
        self.metrics = Metrics()
        self.budget = ByteBudget(self.limits.held_bytes)
        self.readers = ThreadPoolExecutor(READERS, "reader")
        self.batcher = Batcher(self.model, self.limits, self.workers, self.metrics.count_batch)

    def close(self) -> None:
        """Ends the threads."""
        self.batcher.close()
        self.readers.shutdown(cancel_futures=True)

    async def embed(self, request: Request) -> bytes:
        """The answer to a request for embeddings.

        Raises:
            RequestError: The request is refused.
        """
        rate = self.model.config.sample_rate
        with self.budget.share() as share:
            try:
                async with asyncio.timeout(self.limits.body_timeout):
                    body = await read_body(request, self.limits, share)
            except TimeoutError as error:
                raise RequestError(
                    408, f"The body did not arrive within {self.limits.body_timeout:g} s; send it faster, or less."
                ) from error
            try:
                async with asyncio.timeout(self.limits.timeout):
                    kind = request.headers.get("content-type", "")
                    arguments = (body, kind, dict(request.query_params))
                    with self.batcher.arriving():
                        loop = asyncio.get_running_loop()
                        asked, waves = await loop.run_in_executor(self.readers, self._unpack, *arguments)
                        jobs = self.batcher.submit(waves)
                    try:
                        results = await asyncio.gather(*map(asyncio.wrap_future, jobs))
                    finally:  # nobody reads the others' results if one was refused, or time is up
                        for job in jobs:
                            job.cancel()
            except TimeoutError as error:
                raise RequestError(
                    504, f"The answer took longer than {self.limits.timeout:g} s; send fewer or shorter clips."
                ) from error
        return self._answer(asked, results, sum(map(len, waves)) / rate)

    def _unpack(self, *arguments):
        """A checked request, and the samples of its clips."""
        asked = parse_request(*arguments, self.name, self.limits)
        return asked, decode_clips(asked.clips, self.model.config.sample_rate, self.limits)

    def _answer(self, asked: EmbeddingRequest, results: list[dict], seconds: float) -> bytes:
        config = self.model.config
        output = asked.output or config.embedding_output
        return embeddings_json(results, output, asked.encoding_format, self.name, seconds, config.id2label)


async def read_body(request: Request, limits: Limits, share: BudgetShare) -> bytes:
    """The body of a request, of which no more is held than is allowed.

    Raises:
        RequestError: 413 for a body that is too large, 503 if others hold too many bytes.
    """
    too_large = RequestError(
        413, f"The body has more than {limits.body_bytes / MEGABYTE:g} MB; send fewer, shorter or compressed clips."
    )
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limits.body_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limits.body_bytes:
            raise too_large
        share.take(len(chunk))
        body += chunk
    return bytes(body)


def create_service(
    model: AudioBranchPreTrainedModel, name: str, limits: Limits | None = None, workers: int = 1
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        model: In eval mode; its `encode` gives the numbers.
        name: That requests may give as `model`.
        limits: See [`Limits`].
        workers: Threads that run the model (see [`Batcher`]).
    """
    service = Service(model, name, limits or Limits(), workers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(title="Audio Branch", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.exception_handler(HTTPException)
    async def refuse(_, error):  # no such path, or another method
        return json_response(error_json(error.status_code, f"{error.detail}; see /openapi.json."), error.status_code)

    @app.post("/v1/embeddings", openapi_extra=BODY)
    async def embeddings(request: Request) -> Response:
        """Embeddings of audio files, given as data URIs in JSON, or of one file that is the body."""
        started, status = time.perf_counter(), 200
        try:
            body = await service.embed(request)
        except RequestError as error:
            status, body = error.status, error_json(error.status, error.sentence)
        except ClientDisconnect:
            status, body = CLOSED, b""
        except Exception:
            logger.exception("A request failed")
            status, body = 500, error_json(500, "The service failed; its log says why.")
        service.metrics.count_request(status, time.perf_counter() - started)
        return json_response(body, status)

    @app.get("/v1/models")
    async def models() -> Response:
        """The model that is served."""
        return json_response(as_json({"object": "list", "data": [{"id": name, "object": "model"}]}))

    @app.get("/health")
    async def health() -> Response:
        """Whether the model is loaded: there is no answer before it is."""
        return json_response(as_json({"status": "ok", "model": name, "waiting_clips": service.batcher.waiting}))

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        service.metrics.waiting.set(service.batcher.waiting)
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def json_response(body: bytes, status: int = 200) -> Response:
    """A body of JSON; a refusal for now says when to try again."""
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else {}
    return Response(body, status, headers, media_type="application/json")

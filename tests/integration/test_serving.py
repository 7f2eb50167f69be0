"""`audio-branch serve` (cli/serve.py, serve/service.py) as a process that real HTTP clients talk to."""

import asyncio
import base64
import io
import json
import random
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import soundfile
import torch
import uvicorn

from helpers.models import make_model, tiny_config
from helpers.servers import free_port, peak_bytes, service
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.serve import Limits, create_service

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "checkpoints/phrases"
AUDIO = sorted(path for path in (ROOT / "examples/audio").iterdir() if path.suffix in (".wav", ".flac", ".ogg"))
WAV = {"content-type": "audio/wav"}
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def served():
    with service("--max-megabytes", "8") as started:
        yield started


@pytest.fixture
def client(served):
    with httpx.Client(base_url=served[1], timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def model():
    return AudioBranchModel.from_pretrained(CHECKPOINT).eval()


@contextmanager
def in_this_process(model, **limits):
    """A service with limits of its own, in a thread; gives its address."""
    port = free_port()
    app = create_service(model, "tiny", Limits(**limits))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def sound(seconds, rate=8000, form="WAV", channels=1, seed=0):
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


def uri(data):
    return f"data:audio/wav;base64,{base64.b64encode(data).decode()}"


def error_of(response):
    """The sentence of a refusal."""
    error = response.json()["error"]
    assert error["code"] == response.status_code and "\n" not in error["message"]
    return error["message"]


def metric(client, name):
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


# ------------------------------------------------------------------------------------------------------------- numbers


def test_under_load_every_clip_has_the_numbers_of_encode(served, client, model):
    """96 requests of 32 clients, of one to three clips of unlike lengths, as JSON and as files."""
    clips = [path.read_bytes() for path in AUDIO] + [sound(0.3 + 0.37 * n, seed=n) for n in range(11)]
    alone = [model.encode(clip) for clip in clips]
    generator = random.Random(0)
    tasks = [[generator.randrange(len(clips)) for _ in range(generator.randint(1, 3))] for _ in range(96)]
    outputs = ("pooler_output", "segment_features", "sequence_embedding")

    async def ask(client, slots, number, chosen):
        output = outputs[number % 3]
        async with slots:
            if len(chosen) == 1:
                query = f"/v1/embeddings?output={output}"
                response = await client.post(query, content=clips[chosen[0]], headers=WAV)
            else:
                body = {"input": [uri(clips[index]) for index in chosen], "output": output}
                response = await client.post("/v1/embeddings", json=body)
        assert response.status_code == 200, response.text
        for index, entry in zip(chosen, response.json()["data"], strict=True):
            expected = alone[index][output]
            torch.testing.assert_close(torch.tensor(entry["embedding"]), expected, atol=1e-5, rtol=0)
            times = torch.tensor(entry["segment_times"])
            torch.testing.assert_close(times, alone[index].segment_times, atol=1e-5, rtol=0)

    async def all_of_them():
        slots = asyncio.Semaphore(32)
        async with httpx.AsyncClient(base_url=served[1], timeout=300) as client:
            await asyncio.gather(*(ask(client, slots, *task) for task in enumerate(tasks)))

    asyncio.run(all_of_them())
    clips_encoded = metric(client, "audio_branch_batch_clips_sum")
    assert clips_encoded >= sum(map(len, tasks))
    assert metric(client, "audio_branch_batch_clips_count") < clips_encoded / 2, "requests were not put together"


def test_openais_client_gets_the_embedding(served, model):
    client = openai.OpenAI(base_url=f"{served[1]}/v1", api_key="none", http_client=openai.DefaultHttpxClient())
    clip = AUDIO[0].read_bytes()
    answer = client.embeddings.create(model="phrases", input=uri(clip), extra_body={"modality": "audio"})
    expected = model.encode(clip)[model.config.embedding_output]  # base64, as this client asks for, is one row
    np.testing.assert_allclose(answer.data[0].embedding, expected.flatten(), atol=1e-5)
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.embeddings.create(model="another", input=uri(clip))


def test_a_classifier_answers_with_its_labels():
    model = make_model(AudioBranchForAudioClassification, tiny_config(num_labels=3))
    with in_this_process(model) as address:
        answer = httpx.post(f"{address}/v1/embeddings", content=sound(1.0), headers=WAV, timeout=60).json()
    labels = answer["data"][0]["labels"]
    expected = model.encode(sound(1.0)).probabilities.sort(descending=True)
    assert [label["label"] for label in labels] == [f"LABEL_{index}" for index in expected.indices.tolist()]
    torch.testing.assert_close(torch.tensor([label["score"] for label in labels]), expected.values)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_health_models_and_unknown_paths(client):
    assert client.get("/health").json() == {"status": "ok", "model": "phrases", "waiting_clips": 0}
    assert client.get("/v1/models").json()["data"][0]["id"] == "phrases"
    assert "/v1/embeddings" in client.get("/openapi.json").json()["paths"]
    for response in (client.get("/nothing"), client.get("/v1/embeddings"), client.delete("/health")):
        assert response.status_code in (404, 405) and "see /openapi.json" in error_of(response)


def test_a_body_that_is_too_large_is_refused_before_it_is_held(served, client):
    large = b"0" * (9 * MEGABYTE)

    def in_chunks():
        for _ in range(9):
            yield b"0" * MEGABYTE

    for content in (large, in_chunks()):
        response = client.post("/v1/embeddings", content=content, headers=WAV)
        assert response.status_code == 413 and "more than 8 MB" in error_of(response)


def hostile_bodies():
    """200 bodies, each with its headers."""
    generator, wav = random.Random(0), sound(0.5)
    flac, ogg, mp3 = (sound(0.5, 44100, form) for form in ("FLAC", "OGG", "MP3"))
    texts = [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"input"',
        b'{"input":',
        b"\xff\xfe\x00",
        b"NaN",
        b"1e999",
        b"9" * 9000,
    ]
    texts += [b"[" * 100_000, b'{"input":' * 3000, b'{"a":' * 50_000, b"[" + b"0," * 9000 + b"0]"]
    values = [
        None,
        0,
        -1,
        True,
        1e308,
        [],
        {},
        [[]],
        [None],
        "",
        " ",
        "\0",
        "\ud800",
        "data:",
        "data:;base64,",
        "é" * 99,
    ]
    values += ["data:audio/wav;base64,!!!!", "file:///etc/passwd", "http://127.0.0.1/", "/etc/passwd", ["a"] * 65]
    values += ["../" * 99, "=" * 99, "A" * 4_000_000, uri(b"\0" * 99), uri(b"RIFF"), [uri(wav), 5], {"url": "x"}]
    texts += [json.dumps({"input": value}).encode() for value in values]
    fields = ("model", "modality", "encoding_format", "output", "nope", "\u202e", "input")
    texts += [json.dumps({"input": uri(wav), name: bad}).encode() for name in fields for bad in (5, [], {}, "x" * 5000)]
    bodies = [(text, {"content-type": "application/json"}) for text in texts]
    files = [b"RIFF", wav[:44], wav[:20], flac[:60], ogg[:100], mp3[:10], b"\0" * 99_999, bytes(range(256)) * 99]
    files += [sound(0.1, 8000, channels=300), sound(0.1, 1_000_000), sound(0.1, 100), sound(121)]
    files.append(sound(130, 8000, "FLAC"))
    for index, value in ((22, 0), (22, 65535), (24, 0), (24, 2**32 - 1), (34, 0), (34, 7), (40, 2**32 - 1), (4, 0)):
        damaged, width = bytearray(wav), 2 if index in (22, 34) else 4
        damaged[index : index + width] = value.to_bytes(width, "little")
        files.append(bytes(damaged))
    while len(bodies) + len(files) < 200:
        damaged = bytearray(generator.choice([wav, flac, ogg, mp3]))
        for _ in range(generator.randint(1, 30)):
            damaged[generator.randrange(min(len(damaged), generator.choice([64, 10**6])))] = generator.randrange(256)
        files.append(bytes(damaged))
    kinds = ["audio/wav", "audio/x", "application/octet-stream", "AUDIO/ogg;;;=", "audio/" + "x" * 2000]
    return bodies + [(data, {"content-type": kinds[n % len(kinds)]}) for n, data in enumerate(files)]


def test_200_hostile_bodies_get_a_sentence_and_memory_stays_bounded(served, client, model):
    process, _ = served
    client.post("/v1/embeddings", content=sound(60), headers=WAV)
    before, bodies = peak_bytes(process), hostile_bodies()
    assert len(bodies) == 200
    with ThreadPoolExecutor(8) as threads:
        responses = list(
            threads.map(lambda each: client.post("/v1/embeddings", content=each[0], headers=each[1]), bodies)
        )
    codes = [response.status_code for response in responses]
    assert set(codes) <= {200, 404, 413, 422}, sorted(set(codes))
    assert codes.count(422) > 100 and 413 in codes
    for response in responses:
        if response.status_code != 200:
            assert error_of(response)[0].isascii() and "Traceback" not in response.text
    assert peak_bytes(process) - before < 400 * MEGABYTE
    good = client.post("/v1/embeddings?output=pooler_output", content=sound(1), headers=WAV).json()
    expected = model.encode(sound(1)).pooler_output
    torch.testing.assert_close(torch.tensor(good["data"][0]["embedding"]), expected, atol=1e-5, rtol=0)


def test_broken_connections_and_broken_http_leave_the_service_alive(served, client):
    host, port = served[1].removeprefix("http://").split(":")
    starts = [
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nContent-Type: audio/wav\r\n\r\nRIFF",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
    ]
    for start in starts:
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(start)
            time.sleep(0.05)
    assert client.get("/health").status_code == 200
    assert metric(client, 'audio_branch_requests_total{status="500"}') == 0


def test_a_body_that_does_not_arrive_is_given_up():
    def slowly():
        yield b"RIFF"
        time.sleep(3)
        yield b"late"

    with in_this_process(make_model(AudioBranchModel, tiny_config()), body_timeout=0.3) as address:
        response = httpx.post(f"{address}/v1/embeddings", content=slowly(), headers=WAV, timeout=60)
        assert response.status_code == 408 and "within 0.3 s" in error_of(response)


def test_a_service_that_is_full_asks_to_come_again():
    with in_this_process(make_model(AudioBranchModel, tiny_config()), held_bytes=10_000) as address:
        response = httpx.post(f"{address}/v1/embeddings", content=sound(1), headers=WAV, timeout=60)
        assert response.status_code == 503 and response.headers["retry-after"] == "1"
        assert "send this one again" in error_of(response)
        assert httpx.post(f"{address}/v1/embeddings", content=sound(0.5), headers=WAV, timeout=60).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up():
    with in_this_process(make_model(AudioBranchModel, tiny_config()), timeout=0.0) as address:
        response = httpx.post(f"{address}/v1/embeddings", content=sound(1), headers=WAV, timeout=60)
        assert response.status_code == 504 and "send fewer or shorter clips" in error_of(response)


def test_a_model_that_is_missing_ends_in_one_sentence(tmp_path):
    import sys

    command = [sys.executable, "-m", "modeling_audio_branch", "serve", "--model", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1


# ----------------------------------------------------------------------------------------------------------- the docs


def curl_commands():
    text = (ROOT / "docs/serving.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```bash\n")[1:]]
    return [block for block in blocks if "curl" in block]


def test_the_curl_lines_of_the_docs_run_as_printed(served, tmp_path):
    """curl's own settings lead localhost:8000 to the port of this test."""
    port = served[1].rsplit(":", 1)[1]
    (tmp_path / ".curlrc").write_text(f'connect-to = "localhost:8000:127.0.0.1:{port}"\nnoproxy = "*"\nsilent\n')
    commands = curl_commands()
    assert len(commands) >= 4
    answers = []
    for command in commands:
        environment = {"CURL_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=ROOT, env=environment, capture_output=True
        )
        assert done.returncode == 0, command + done.stderr.decode()
        answers.append(done.stdout.decode())
    data = [json.loads(answer)["data"] for answer in answers if '"object":"list"' in answer]
    assert len(data) >= 2 and all(entry["embedding"] for entries in data for entry in entries)
    assert any('"status":"ok"' in answer for answer in answers)
    assert any("audio_branch_requests_total" in answer for answer in answers)
    assert any("is not fetched" in answer for answer in answers)

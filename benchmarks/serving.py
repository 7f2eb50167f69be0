"""What `audio-branch serve` does under load: python -m benchmarks.serving

One process serves the checkpoint; clients in this process send clips of 0.5 to 2.5 s as wav files over connections that
stay open. First one client sends one request at a time, then many clients do so at once. Printed are also the CPU time
of the service for a request, which other programs on the machine hardly change, the time from starting the process to
its first answer, and the most memory that it had.
"""

import asyncio
import io
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "phrases"
PATH = "/v1/embeddings?output=pooler_output&encoding_format=base64"
NUM_CLIPS = 64


def main(
    clients: Annotated[int, typer.Option(min=2, help="Clients at once.")] = 64,
    seconds: Annotated[float, typer.Option(min=1, help="Duration of each round.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of one client, then of many, in turn.")] = 3,
    port: Annotated[int, typer.Option(help="Port to use.")] = 8091,
) -> None:
    """Measure requests per second, the cold start and the memory of the service."""
    requests = make_requests(port)
    started = time.perf_counter()
    command = [sys.executable, "-m", "modeling_audio_branch", "serve", "--model", str(CHECKPOINT), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        cold = time.perf_counter() - started
        asyncio.run(load(requests, port, 4, 2.0))  # warm
        rates, cpu = {1: [], clients: []}, {1: [], clients: []}
        for _ in range(rounds):
            for count, measured in rates.items():
                before = cpu_seconds(process.pid)
                measured.append(asyncio.run(load(requests, port, count, seconds)))
                cpu[count].append((cpu_seconds(process.pid) - before) / (measured[-1] * seconds))
        memory = peak_megabytes(process.pid)
    finally:
        process.terminate()
        process.wait()
    one, many = (statistics.median(measured) for measured in rates.values())
    typer.echo(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    typer.echo(f"cold start: {cold:.1f} s; most memory: {memory:.0f} MB")
    for count, measured in rates.items():
        typer.echo(
            f"{count} at a time: {', '.join(f'{rate:.1f}' for rate in measured)} requests per second, "
            f"{1000 * statistics.median(cpu[count]):.1f} ms of CPU time for each"
        )
    typer.echo(f"throughput against one request at a time: {many / one:.1f}x (medians)")


def make_requests(port: int) -> list[bytes]:
    """The bytes of a request for each clip; building them is no part of what is measured."""
    generator, noise, requests = random.Random(0), np.random.default_rng(0), []
    for _ in range(NUM_CLIPS):
        file = io.BytesIO()
        soundfile.write(file, 0.1 * noise.standard_normal(int(8000 * generator.uniform(0.5, 2.5))), 8000, format="WAV")
        body = file.getvalue()
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: audio/wav\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return requests


async def load(requests: list[bytes], port: int, clients: int, seconds: float) -> float:
    """Answered requests per second of so many clients, each of which sends the next when it has its answer."""
    end, answered = time.perf_counter() + seconds, 0

    async def client(number):
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            writer.write(requests[(number + answered) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"The service refused: {head.decode()}")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            answered += 1
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    return answered / (time.perf_counter() - started)


def wait_for(address: str, process: subprocess.Popen) -> None:
    """Returns when the service answers."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("The service did not start.")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, of all its threads."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has had so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    typer.run(main)

"""The HTTP API under load, with the starter voice: overhead, many requests at once, memory, answers found again.

    python benchmarks/serving.py [--requests 1000] [--pairs 60] [--json]

A server runs as a process of its own. Overhead: the same half second of speech in turn by a call of the library in
this process and by a request, with a seed of its own each time so that nothing is found again. Load: so many requests
at once, each with its own audio, asked again when the server says 429; a worker is killed in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ultimate_rvc.audio.encode import encode_bytes
from ultimate_rvc.choices import AudioFormat, Device
from ultimate_rvc.openmp import wait_briefly
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.server.metrics import resident_bytes
from ultimate_rvc.voices.library import find_voice

VOICE = "starter"
RATE = 16_000
SHORT_SECONDS = 0.5
LONG_SECONDS = 30.0
SPEECH = Path(__file__).resolve().parents[1] / "tests" / "data" / "content" / "speech.wav"
PATIENCE_SECONDS = 600.0
MEGABYTE = 1e6


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """``urvc serve`` with a home of its own: its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "ultimate_rvc.cli", "serve", "--listen-port", str(port)]
    environment = os.environ | {"URVC_HOME": str(folder), "URVC_OFFLINE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def speech(seconds: float) -> np.ndarray[Any, Any]:
    from ultimate_rvc.audio.decode import decode_mono

    return np.resize(decode_mono(SPEECH, RATE), round(seconds * RATE))


def wav(waveform: np.ndarray[Any, Any]) -> bytes:
    return encode_bytes(waveform.astype(np.float32), RATE, audio_format=AudioFormat.WAV)


def asked(client: httpx.Client, content: bytes, **settings: Any) -> float:
    """Seconds of a request."""
    data = {"voice": VOICE, "format": "pcm", "settings": json.dumps(settings)}
    began = time.perf_counter()
    answer = client.post("/v1/convert", files={"audio": ("a.wav", content)}, data=data)
    answer.raise_for_status()
    return time.perf_counter() - began


def overhead(client: httpx.Client, pairs: int) -> dict[str, float]:
    """Milliseconds by which a request takes longer than a call of the library, in pairs."""
    from ultimate_rvc.rvc.infer.pipeline import (
        Pipeline,
    )  # torch reads how its threads wait when it is imported

    waveform, voice = speech(SHORT_SECONDS), find_voice(VOICE)
    content = wav(waveform)
    pipeline = Pipeline.open(
        voice.model_path,
        ConversionSettings(),
        index_path=voice.index_path,
        device=Device.AUTO,
    )
    calls, requests = [], []
    for seed in range(pairs + 3):
        began = time.perf_counter()
        pipeline.convert(waveform, RATE, ConversionSettings(seed=seed))
        called = time.perf_counter() - began
        took = asked(client, content, seed=seed)
        if seed >= 3:
            calls.append(called)
            requests.append(took)
    more = sorted(1000 * (took - called) for took, called in zip(requests, calls, strict=True))
    return {
        "call_ms": 1000 * statistics.median(calls),
        "request_ms": 1000 * statistics.median(requests),
        "overhead_median_ms": statistics.median(more),
        "overhead_p95_ms": more[int(0.95 * (len(more) - 1))],
    }


def found_again(client: httpx.Client) -> dict[str, float]:
    """Seconds of work, and of the same request again."""
    content = wav(speech(LONG_SECONDS))
    work = asked(client, content, seed=1)
    again = min(asked(client, content, seed=1) for _ in range(5))
    return {"work_s": work, "again_s": again, "times_faster": work / again}


def memory_mb(pid: int) -> float:
    """Of the server and all that it started."""
    children = [pid]
    for parent in children:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            children += map(int, tasks.read_text().split())
    return sum(resident_bytes(str(each)) for each in children) / MEGABYTE


async def many(url: str, pid: int, count: int) -> dict[str, Any]:
    """``count`` requests at once; a worker is killed after a third of them."""
    sound = speech(SHORT_SECONDS)
    random = np.random.default_rng(0)
    contents = [wav(sound * random.uniform(0.5, 1.0)) for _ in range(count)]
    memory, done, refused = [], 0, 0

    async def one(client: httpx.AsyncClient, number: int) -> int:
        nonlocal done, refused
        data = {"voice": VOICE, "format": "pcm"}
        while True:
            answer = await client.post(
                "/v1/convert", files={"audio": (f"{number}.wav", contents[number])}, data=data
            )
            if answer.status_code != 429:
                break
            refused += 1
            await asyncio.sleep(int(answer.headers["retry-after"]) * random.uniform(0.5, 1.0))
        answer.raise_for_status()
        done += 1
        memory.append(memory_mb(pid))
        if done == count // 3:
            os.kill(_worker(pid), signal.SIGKILL)
        return len(answer.content)

    limits = httpx.Limits(max_connections=None)
    began = time.perf_counter()
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE_SECONDS) as client:
        lengths = await asyncio.gather(
            *(one(client, number) for number in range(count)), return_exceptions=True
        )
        text = (await client.get("/metrics")).text
    failed = [str(length) for length in lengths if not isinstance(length, int)]
    return {
        "requests": count,
        "answered": count - len(failed),
        "failed": failed[:3],
        "refused_first": refused,
        "seconds": time.perf_counter() - began,
        "memory_highest_mb": max(memory, default=0.0),
        "memory_last_mb": memory_mb(pid),
        "memory_told_mb": float(re.findall(r"^urvc_memory_bytes (\S+)", text, re.MULTILINE)[0]) / MEGABYTE,
    }


def _worker(pid: int) -> int:
    """The process that has the voice open: of those that the server started, the largest."""
    children = [
        int(child)
        for tasks in Path(f"/proc/{pid}/task").glob("*/children")
        for child in tasks.read_text().split()
    ]
    return max(children, key=lambda child: resident_bytes(str(child)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    wait_briefly()  # as the server: threads of this process would else keep its processors
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (url, pid):
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            figures: dict[str, Any] = {
                "overhead": overhead(client, given.pairs),
                "found again": found_again(client),
            }
            for seed in range(100, 150):
                asked(client, wav(speech(SHORT_SECONDS)), seed=seed)
            figures["one at a time"] = {"memory_mb": memory_mb(pid)}
        figures["at once"] = asyncio.run(many(url, pid, given.requests))
    highest, alone = figures["at once"]["memory_highest_mb"], figures["one at a time"]["memory_mb"]
    figures["at once"]["memory_ratio"] = highest / alone
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for name, part in figures.items():
        print(name)
        for key, value in part.items():
            print(f"  {key:22} {value:.2f}" if isinstance(value, float) else f"  {key:22} {value}")


if __name__ == "__main__":
    main()

"""The page's server as a program meets it: killed in the midst of jobs, and asked for many things at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file

from ultimate_rvc.audio.decode import decode, probe
from ultimate_rvc.audio.encode import encode
from web.server_process import ServerProcess, server_process

SONG = Path(__file__).parent.parent / "data" / "songs" / "water_vocals.ogg"
VOICE = "starter"
LONG_SECONDS = 8.0  # long enough that a server is killed within it
CLIENTS = ("ann", "bob")
FILES_EACH = 3


def recording(path: Path, seconds: float) -> Path:
    """So many seconds of singing, over and over again."""
    samples, sample_rate = decode(SONG)
    wanted = round(seconds * sample_rate)
    repeated = [samples] * -(-wanted // samples.shape[-1])
    encode(path, np.concatenate(repeated, axis=-1)[..., :wanted], sample_rate)
    return path


def convert(client: Client, path: Path, who: str) -> int:
    job = client.predict(
        [handle_file(path)], VOICE, {"f0_methods": ["fcpe"]}, "wav", {}, who, api_name="/convert"
    )
    return int(job["id"])


def finished(client: Client, job_id: int) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.predict(job_id, 60, "", api_name="/wait_for_job")
        if job["state"] not in ("queued", "running"):
            return job


def test_a_killed_server_keeps_what_was_done_and_goes_on(tmp_path: Path) -> None:
    """The first job is done, the second at work, the third waits when the server is killed."""
    machine = tmp_path / "machine"
    short, long = recording(tmp_path / "short.wav", 2), recording(tmp_path / "long.wav", LONG_SECONDS)
    with server_process(machine) as server:
        client = server.client()
        first = convert(client, short, "ann")
        made = finished(client, first)["result"]["files"]
        second, third = convert(client, long, "ann"), convert(client, short, "bob")
        while client.predict(second, api_name="/job")["step"] != "convert":
            pass
        assert client.predict(third, api_name="/job")["state"] == "queued"
        server.kill()
    with server_process(machine) as server:
        client = server.client()
        kept = client.predict(first, api_name="/job")
        assert (kept["state"], kept["result"]["files"]) == ("done", made)
        (converted,) = client.predict(first, "", api_name="/job_files")
        assert probe(Path(converted)).duration_seconds == pytest.approx(2, abs=0.05)
        interrupted = client.predict(second, api_name="/job")
        assert interrupted["state"] == "interrupted"
        assert "run it again" in interrupted["error"]
        assert finished(client, third)["state"] == "done"
        again = finished(client, client.predict(second, None, "ann", api_name="/rerun_job")["id"])
        assert (again["state"], again["rerun_of"]) == ("done", second)
        (converted,) = client.predict(again["id"], "", api_name="/job_files")
        assert probe(Path(converted)).duration_seconds == pytest.approx(LONG_SECONDS, abs=0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path / "machine") as running:
        yield running


def test_many_conversions_at_once_all_succeed_in_the_order_of_each_client(
    server: ServerProcess, tmp_path: Path
) -> None:
    """benchmarks/page_many.py sends 50, and looks at the memory."""
    files = [recording(tmp_path / f"{number}.wav", 1.5 + 0.2 * number) for number in range(FILES_EACH)]

    def send_all(who: str) -> list[int]:
        client = server.client()
        return [convert(client, path, who) for path in files]

    with ThreadPoolExecutor(len(CLIENTS)) as threads:
        sent = dict(zip(CLIENTS, threads.map(send_all, CLIENTS), strict=True))
    client = server.client()
    for who, ids in sent.items():
        jobs = [finished(client, job_id) for job_id in ids]
        assert [(job["state"], job["client"]) for job in jobs] == [("done", who)] * FILES_EACH
        assert [job["started"] for job in jobs] == sorted(job["started"] for job in jobs)
        for number, job_id in enumerate(ids):
            (converted,) = client.predict(job_id, who, api_name="/job_files")
            assert probe(Path(converted)).duration_seconds == pytest.approx(1.5 + 0.2 * number, abs=0.05)

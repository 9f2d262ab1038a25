"""Many short conversions through the page's API: one at a time, then all at once.

    python benchmarks/page_many.py [--files 50] [--clients 5] [--json FILE]

Files have 2 to 3 s, each another length. Both ways run in a server of their own, on the CPU. Memory is
what the server and its worker hold together (resident, highest of many looks). Exits with 1 unless all
jobs are done, each client's in the order in which it sent them, and all at once take at most 1.2 times
the memory of one at a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from page import VOICE, served  # beside this file

SOURCE = Path(__file__).resolve().parents[1] / "tests" / "data" / "songs" / "water_vocals.ogg"
MOST_MEMORY = 1.2  # times that of one at a time
LOOK_SECONDS = 0.1
START_SECONDS = 300.0
CONVERSION = {"f0_methods": ["fcpe"]}


@dataclass(frozen=True)
class Way:
    """One way of sending the files."""

    seconds: float
    peak_mb: float
    not_done: int
    in_order: bool
    """Whether each client's jobs began in the order in which it sent them."""


class PeakMemory:
    """Resident bytes of a process and all below it, looked at again and again."""

    def __init__(self, pid: int) -> None:
        self._pid, self.peak_bytes = pid, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.peak_bytes = max(self.peak_bytes, tree_bytes(self._pid))


def tree_bytes(pid: int) -> int:
    """Resident bytes of a process and of all that it started, by what `ps` says."""
    command = ["ps", "-axo", "pid=,ppid=,rss="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [tuple(map(int, line.split())) for line in lines]
    wanted = {pid}
    while more := {child for child, parent, _ in rows if parent in wanted} - wanted:
        wanted |= more
    return sum(1024 * kilobytes for each, _, kilobytes in rows if each in wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=50, metavar="N", help="conversions to send each way")
    parser.add_argument("--clients", type=int, default=5, metavar="N", help="who send them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    options = parser.parse_args(arguments)
    if not 1 <= options.clients <= options.files:
        parser.error("--clients must be from 1 to --files")
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), options.files)
        alone = measure(files, options.clients, at_once=False)
        together = measure(files, options.clients, at_once=True)
    ratio = together.peak_mb / alone.peak_mb
    print("                 seconds   peak MB   not done   in order")
    for name, way in (("one at a time", alone), ("all at once", together)):
        order = "yes" if way.in_order else "no"
        print(f"{name:<16} {way.seconds:>7.1f} {way.peak_mb:>9.0f} {way.not_done:>10} {order:>10}")
    print(f"memory: {ratio:.2f} times")
    if options.json:
        figures = {"one at a time": asdict(alone), "all at once": asdict(together), "memory ratio": ratio}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if ratio > MOST_MEMORY or any(way.not_done or not way.in_order for way in (alone, together)):
        sys.exit(1)


def write_files(folder: Path, count: int) -> list[Path]:
    """Recordings of 2 to 3 s from different places of one song."""
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.encode import encode

    samples, sample_rate = decode(SOURCE)
    files = []
    for number in range(count):
        length = round((2 + number / count) * sample_rate)
        start = number * sample_rate // 4 % (samples.shape[-1] - length)
        files.append(folder / f"{number}.wav")
        encode(files[-1], samples[..., start : start + length], sample_rate)
    return files


def measure(files: list[Path], client_count: int, *, at_once: bool) -> Way:
    """Send all files, each client its share, and wait for each before the next unless ``at_once``."""
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as (process, url, _):
        clients = [connect(url) for _ in range(client_count)]
        memory = PeakMemory(process.pid)
        began = time.monotonic()
        with memory.watching():
            sent: dict[int, list[dict[str, Any]]] = {number: [] for number in range(client_count)}

            def send(number: int) -> None:
                for path in files[number::client_count]:
                    job = submit(clients[number], path, str(number))
                    sent[number].append(job if at_once else finished(clients[number], job["id"]))

            if at_once:
                with ThreadPoolExecutor(client_count) as threads:
                    list(threads.map(send, sent))
            else:
                for number in sent:
                    send(number)
            jobs = {
                number: [finished(clients[number], job["id"]) for job in jobs]
                for number, jobs in sent.items()
            }
        seconds = time.monotonic() - began
    starts = [[job["started"] for job in each] for each in jobs.values()]
    return Way(
        seconds=seconds,
        peak_mb=memory.peak_bytes / 1e6,
        not_done=sum(job["state"] != "done" for each in jobs.values() for job in each),
        in_order=all(each == sorted(each) for each in starts),
    )


def connect(url: str) -> Any:
    """A client, once the server answers."""
    import httpx
    from gradio_client import Client

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return Client(url, verbose=False)
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
            time.sleep(LOOK_SECONDS)


def submit(client: Any, path: Path, who: str) -> dict[str, Any]:
    from gradio_client import handle_file

    job: dict[str, Any] = client.predict(
        [handle_file(path)], VOICE, CONVERSION, "wav", {"device": "cpu"}, who, api_name="/convert"
    )
    return job


def finished(client: Any, job_id: int) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.predict(job_id, 60, "", api_name="/wait_for_job")
        if job["state"] not in ("queued", "running"):
            return job


if __name__ == "__main__":
    main()

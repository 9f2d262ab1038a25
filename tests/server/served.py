"""``urvc serve`` as a process of its own, with a home of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from web.server_process import environment_below, free_port, wait_until_it_answers

END_SECONDS = 60.0


@dataclass
class Served:
    """A server that answers at ``url``."""

    process: subprocess.Popen[bytes]
    url: str
    machine: Path

    @property
    def log(self) -> str:
        return (self.machine / "server.log").read_text(encoding="utf-8", errors="replace")

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=300, headers=headers)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_SECONDS)


@contextmanager
def served(machine: Path, *options: str) -> Iterator[Served]:
    """Start ``urvc serve`` with ``options``; leaving the block ends it."""
    port = free_port()
    with (machine / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ultimate_rvc.cli", "serve", "--listen-port", str(port), *options],
            env=environment_below(machine),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Served(process, f"http://127.0.0.1:{port}", machine)
    try:
        wait_until_it_answers(f"{server.url}/healthz", process, lambda: server.log)
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

"""The page as a process of its own, with a home, temporary and working folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from gradio_client import Client

PROGRAM = "from ultimate_rvc.web.main import run; run()"
PATIENCE_SECONDS = 300.0  # a server is there after 5 s; the machine may be busy or stand still
LOOK_SECONDS = 0.1


@dataclass
class ServerProcess:
    """A server that answers at ``url``; everything it may write lies below ``machine``."""

    process: subprocess.Popen[bytes]
    url: str
    machine: Path

    @property
    def home(self) -> Path:
        return self.machine / "home"

    @property
    def log(self) -> str:
        return (self.machine / "server.log").read_text(encoding="utf-8", errors="replace")

    def client(self) -> Client:
        """A program elsewhere; its own patience of 5 s is too short for a busy machine."""
        return Client(self.url, verbose=False, httpx_kwargs={"timeout": PATIENCE_SECONDS})

    def kill(self) -> None:
        """As when the power fails."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def server_process(
    machine: Path, *options: str, host: str = "127.0.0.1", variables: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Start a server with command line ``options`` and further ``variables``; leaving the block ends it.

    Starting twice with one ``machine`` is a restart: everything that the first one kept is there.
    """
    environment = {**environment_below(machine), **(variables or {})}
    port = free_port()
    with (machine / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--listen-host", host, "--listen-port", str(port), *options],
            cwd=machine / "cwd",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = ServerProcess(process, f"http://127.0.0.1:{port}/", machine)
    try:
        wait_until_it_answers(server.url, process, lambda: server.log)
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def environment_below(machine: Path) -> dict[str, str]:
    """Variables for a process whose every file lies below ``machine``."""
    for folder in ("home", "tmp", "cwd"):
        (machine / folder).mkdir(parents=True, exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("URVC_", "RVC_", "GRADIO_", "HF_"))
    }
    return kept | {
        "URVC_HOME": str(machine / "home"),
        "URVC_OFFLINE": "1",
        "HOME": str(machine / "home"),
        "TMPDIR": str(machine / "tmp"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log()
        try:
            if httpx.get(url, timeout=PATIENCE_SECONDS).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(LOOK_SECONDS)
    raise AssertionError(f"no answer from {url}\n{log()}")

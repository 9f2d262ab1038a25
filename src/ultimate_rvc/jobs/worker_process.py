"""A worker seen from the server: started, spoken to, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

END_SECONDS = 5.0  # between the end of its pipe and its own


class WorkerGoneError(Exception):
    """The worker ended though nobody asked it to; ``exit_code`` is negative for a signal."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"the worker ended with {exit_code}")
        self.exit_code = exit_code

    @property
    def sentence(self) -> str:
        """What to tell the user."""
        if self.exit_code == -signal.SIGKILL:
            return (
                "The process that did the work was killed, most likely because memory ran out; "
                "close other programs or choose a smaller model."
            )
        how = f"signal {-self.exit_code}" if self.exit_code < 0 else f"code {self.exit_code}"
        return f"The process that did the work ended unexpectedly ({how}); run the job again."


class WorkerProcess:
    """One worker process, for use by one thread.

    It leads a session of its own: Ctrl-C in the terminal of the server does not reach it, and what it
    starts ends with it.
    """

    def __init__(self, table: str) -> None:
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", "ultimate_rvc.jobs.worker", str(theirs.fileno()), table]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            raise self._gone() from None

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or None when none came within ``seconds``.

        Raises
        ------
        WorkerGoneError
            It ended, or somebody ended it.
        """
        try:
            if not self._connection.poll(seconds):
                return None
            message: dict[str, Any] = json.loads(self._connection.recv_bytes())
            return message
        except (EOFError, OSError):
            raise self._gone() from None

    def kill(self) -> None:
        """End it and all it started, now."""
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a dead group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()

    def _gone(self) -> WorkerGoneError:
        try:
            exit_code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            exit_code = -signal.SIGKILL
        self.kill()
        return WorkerGoneError(exit_code)

"""The process that does the work of jobs, one at a time: ``python -m ultimate_rvc.jobs.worker FD KINDS``.

It is told what to do over the pipe ``FD`` and answers there, in JSON:

    to it    {"run": {"id", "kind", "settings", "device", "folder"}}   {"cancel": id}
    from it  {"progress": [step, fraction, text]}   then one of
             {"done": result}   {"cancelled": true, "result"?}
             {"failed": sentence, "details": traceback, "is_bug": bool}

Models stay open between jobs. When the pipe closes, because the server wants that or because it died,
the process ends at once, whatever it is doing.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ultimate_rvc.errors import CancelledError, OutOfMemoryError, UltimateRVCError
from ultimate_rvc.jobs.sentences import sentence_of
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.warm import WarmPipelines
from ultimate_rvc.work.kinds import Kind, load_kinds
from ultimate_rvc.work.stopped import StoppedError
from ultimate_rvc.work.workbench import Workbench

REPORT_SECONDS = 0.1  # a page cannot show more
# On a CPU torch keeps what it prepared for each length of audio it met, up to 1024 of them: over fifty short
# files of different lengths that doubled the memory of a worker, and made none of them faster.
CACHE_LIMITS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32", "LRU_CACHE_CAPACITY": "32"}


class Worker:
    """Listens in a thread of its own, so that a wish to cancel is heard while a job runs."""

    def __init__(self, connection: Connection, kinds: Mapping[str, Kind]) -> None:
        self._connection, self._kinds = connection, kinds
        self._inbox: queue.SimpleQueue[tuple[dict[str, Any], Progress]] = queue.SimpleQueue()
        self._pipelines = WarmPipelines()

    def run(self) -> None:
        """Do jobs until the pipe closes, which ends the process."""
        threading.Thread(target=self._listen, daemon=True, name="listener").start()
        while True:
            order, progress = self._inbox.get()
            self._send(self._do(order, progress))

    def _listen(self) -> None:
        current: tuple[int, Progress] | None = None
        try:
            while True:
                message = json.loads(self._connection.recv_bytes())
                if order := message.get("run"):
                    report = self._reporter()
                    current = (order["id"], Progress(report, partial(report, "look ahead", 1.0)))
                    self._inbox.put((order, current[1]))
                elif current is not None and current[0] == message["cancel"]:
                    current[1].cancel()
        except (EOFError, OSError):
            # Whatever the job started goes too: this process leads a group of its own.
            os.killpg(0, signal.SIGKILL)

    def _do(self, order: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """One job; the last message about it."""
        try:
            kind = self._kinds[order["kind"]]
            folder = Path(order["folder"])
            bench = Workbench(progress, folder, order["device"], self._pipelines, is_heard=True)
            result = kind.load_work()(kind.read(order["settings"]), bench)
            return {"done": result.as_dict()}
        except StoppedError as stopped:
            return {"cancelled": True, "result": stopped.result.as_dict()}
        except CancelledError:
            return {"cancelled": True}
        except Exception as error:
            if isinstance(error, OutOfMemoryError | MemoryError):
                self._pipelines.close()  # the next job finds what room there is
            is_bug = not isinstance(error, UltimateRVCError | OSError | MemoryError)
            return {"failed": sentence_of(error), "details": traceback.format_exc(), "is_bug": is_bug}

    def _reporter(self) -> Any:
        """A callback that passes on what changes: each step, and some of its fractions."""
        shown_step, shown_at = None, 0.0

        def report(step: str, fraction: float, text: str) -> None:
            nonlocal shown_step, shown_at
            now = time.monotonic()
            if step != shown_step or now - shown_at >= REPORT_SECONDS:
                shown_step, shown_at = step, now
                self._send({"progress": [step, fraction, text]})

        return report

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:  # nobody is there any more
            os.killpg(0, signal.SIGKILL)


def main(descriptor: str, table: str) -> None:
    for variable, limit in CACHE_LIMITS.items():  # before torch is loaded, which reads them then
        os.environ.setdefault(variable, limit)
    os.dup2(2, 1)  # what libraries print is no output of the server
    Worker(Connection(int(descriptor)), load_kinds(table)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])

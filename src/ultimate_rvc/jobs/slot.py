"""A device slot: a thread that takes jobs in turn and has its worker process do them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ultimate_rvc.choices import Device
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.sentences import sentence_of
from ultimate_rvc.jobs.store import INTERRUPTED
from ultimate_rvc.jobs.worker_process import WorkerGoneError, WorkerProcess
from ultimate_rvc.work.kinds import Kind
from ultimate_rvc.work.result import WorkResult

POLL_SECONDS = 0.05  # how often a wish to cancel is looked for while the worker says nothing
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: JobState
    result: WorkResult | None = None
    error: str | None = None
    details: str | None = None


class Dispatcher(Protocol):
    """Who hands out the jobs and is told of them; every method is called from the slot's thread."""

    def next_job(self, slot: Slot, seconds: float | None) -> Job | None:
        """The next one, waiting at most ``seconds``; None when there was none or the slot closes."""

    def told(self, job_id: int, step: str, fraction: float, text: str) -> None: ...

    def ended(self, job_id: int, outcome: Outcome) -> None: ...


class Slot:
    """Does one job at a time. ``device`` is for the jobs that name none; None makes it a slot for errands."""

    def __init__(
        self,
        device: str | None,
        dispatcher: Dispatcher,
        *,
        kinds: Mapping[str, Kind],
        table: str,
        folder: Path,
        idle_seconds: float,
    ) -> None:
        self.device = device
        self._dispatcher, self._kinds, self._table = dispatcher, kinds, table
        self._folder, self._idle_seconds = folder, idle_seconds
        self._worker: WorkerProcess | None = None
        self._cancel, self._closing = threading.Event(), threading.Event()
        # A daemon: a door that forgets to close the queue ends all the same.
        name = f"jobs on {device}" if device is not None else "errands"
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    @property
    def worker_pid(self) -> int | None:
        """Of the process that has models open; None while there is none."""
        worker = self._worker
        return worker.pid if worker else None

    def cancel(self) -> None:
        """End the job at hand: it is asked to, and its worker killed unless it does in time."""
        self._cancel.set()

    def begin_closing(self) -> None:
        """The job at hand is interrupted; :meth:`join` waits for the end."""
        self._closing.set()

    def join(self) -> None:
        self._thread.join(CLOSE_SECONDS)

    def fits(self, job: Job, devices: frozenset[str]) -> bool:
        """Whether to do ``job``: one that names the device of a slot waits for that slot."""
        if self.device is None:
            return True
        settings = job.settings
        wanted = settings.get("device") or settings.get("optimization", {}).get("device") or Device.AUTO
        return wanted == self.device or wanted not in devices

    def _run(self) -> None:
        while not self.is_closing:
            job = self._dispatcher.next_job(self, self._idle_seconds if self._worker else None)
            if job is not None:
                self._dispatcher.ended(job.id, self._outcome(job))
                self._cancel.clear()
            elif self._worker is not None:  # idle for long enough: its memory is worth more elsewhere
                self._end_worker()
        self._end_worker()

    def _outcome(self, job: Job) -> Outcome:
        folder = self._folder / str(job.id)
        try:
            shutil.rmtree(folder, ignore_errors=True)  # of a killed worker of the same number
            folder.mkdir(parents=True)
            if self._worker is None:
                self._worker = WorkerProcess(self._table)
            order = {"id": job.id, "kind": job.kind, "settings": job.settings}
            self._worker.send({"run": order | {"device": self.device or Device.CPU, "folder": str(folder)}})
            return self._follow(self._worker, job)
        except WorkerGoneError as gone:
            self._worker = None
            return Outcome(JobState.FAILED, error=gone.sentence)
        except OSError as error:
            return Outcome(JobState.FAILED, error=sentence_of(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _follow(self, worker: WorkerProcess, job: Job) -> Outcome:
        """Pass on what the worker says until it is done, or has to be stopped."""
        give_up: float | None = None
        while True:
            if give_up is None and (self._cancel.is_set() or self.is_closing):
                worker.send({"cancel": job.id})
                give_up = time.monotonic() + self._kinds[job.kind].cancel_seconds
            if give_up is not None and time.monotonic() > give_up:
                self._end_worker()
                return self._stopped()
            message = worker.receive(POLL_SECONDS)
            if message is None:
                continue
            if progress := message.get("progress"):
                self._dispatcher.told(job.id, *progress)
                continue
            return self._last_word(message)

    def _last_word(self, message: Mapping[str, Any]) -> Outcome:
        if "done" in message:
            return Outcome(JobState.DONE, WorkResult.from_dict(message["done"]))
        if "cancelled" in message:
            result = message.get("result")
            return replace(self._stopped(), result=WorkResult.from_dict(result) if result else None)
        return Outcome(JobState.FAILED, error=message["failed"], details=message["details"])

    def _stopped(self) -> Outcome:
        if self._cancel.is_set():
            return Outcome(JobState.CANCELLED)
        return Outcome(JobState.INTERRUPTED, error=INTERRUPTED)

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

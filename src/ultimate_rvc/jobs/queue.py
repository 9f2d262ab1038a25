"""The queue of jobs: what a server opens once and every page and endpoint of it uses."""

from __future__ import annotations

import atexit
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.events import Subscription
from ultimate_rvc.jobs.lock import ServerLock
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.new import new_job, repeated_job
from ultimate_rvc.jobs.schedule import FairOrder
from ultimate_rvc.jobs.settings import QueueSettings
from ultimate_rvc.jobs.slot import Outcome, Slot
from ultimate_rvc.jobs.store import JobStore
from ultimate_rvc.jobs.time_left import overall_fraction, seconds_left
from ultimate_rvc.paths import jobs_dir
from ultimate_rvc.work.kinds import KINDS_TABLE, load_kinds

log = logging.getLogger(__name__)

Jobs = list[Job]  # `list` is a method below
Ids = list[int]

WORK_FOLDER = "work"
WATCH_SECONDS = 0.5  # how often the wishes of other processes are looked for
ERRAND_IDLE_SECONDS = 10.0  # what does errands has no models to keep
SAVE_SECONDS = 2.0  # how often the progress of a running job is written
FINISHED = tuple(state for state in JobState if state.is_finished)


class JobQueue:
    """Jobs of one server: kept on disk, done one at a time per slot, clients in turn.

    Every method may be called from any thread. What was waiting when an earlier server ended goes on;
    what was running then is ``interrupted`` until somebody runs it again.

    The list is kept in ``folder``, else in :func:`~ultimate_rvc.paths.jobs_dir`; settings left out are those of
    the environment; ``kinds`` is ``module:name`` of their table; ``resume=False`` leaves what was waiting alone:
    only jobs submitted here are done.

    Raises
    ------
    JobError
        Another process works on the same list, or the list cannot be read or written.
    """

    def __init__(
        self,
        folder: Path | None = None,
        settings: QueueSettings | None = None,
        *,
        kinds: str = KINDS_TABLE,
        resume: bool = True,
    ) -> None:
        self.folder = folder or jobs_dir()
        settings = settings or QueueSettings.from_env()
        self._kinds = load_kinds(kinds)
        self._store = JobStore(self.folder)
        self._server_lock = ServerLock(self.folder)
        self._changed = threading.Condition(threading.RLock())
        # Errands are no part of the order of those that wait for a device.
        self._orders = {True: FairOrder(), False: FairOrder()}
        self._live: dict[int, Job] = {}  # not finished, or finished and not written yet
        self._running: dict[int, Slot] = {}
        self._saved_at: dict[int, float] = {}
        self._unsaved: set[int] = set()
        self._subscriptions: list[Subscription] = []
        self._resume = resume
        self._closed = threading.Event()
        self.revision = 0
        """Raised at every change of any job: a page that shows the same revision is up to date."""
        self.trouble: str | None = None
        """Why the list cannot be written at present, in one sentence; jobs go on, and it is tried again."""
        self._open(settings, kinds)

    def _open(self, settings: QueueSettings, table: str) -> None:
        try:
            self._server_lock.acquire()
        except JobError:
            self._store.close()
            raise
        shutil.rmtree(self.folder / WORK_FOLDER, ignore_errors=True)
        self._store.interrupt_running()
        self._foreign_changes = self._store.foreign_changes()
        with self._changed:
            if self._resume:
                self._admit_waiting()
            for job_id in self._store.wanted_cancelled():
                self.cancel(job_id)
        self._devices = frozenset(settings.slots)
        self._slots = [
            Slot(
                device,
                self,
                kinds=self._kinds,
                table=table,
                folder=self.folder / WORK_FOLDER,
                idle_seconds=settings.idle_seconds if device is not None else ERRAND_IDLE_SECONDS,
            )
            for device in (*settings.slots, None)
        ]
        for slot in self._slots:
            slot.start()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="watcher of jobs")
        self._watcher.start()
        atexit.register(self.close)

    # --------------------------------------------------------------- submit

    def submit(self, kind: str, settings: Mapping[str, Any], *, client: str = "") -> Job:
        """Queue a job of one of :data:`~ultimate_rvc.work.kinds.KINDS` for ``client``.

        Settings are plain values as docs/jobs.md lists them; what is left out has its default.

        Raises
        ------
        UltimateRVCError
            The kind or a setting is none, a value is out of range, a file or voice is not there, or
            the job cannot be written down. Then nothing is queued.
        """
        (job,) = self._submit([new_job(self._kinds, kind, settings, client=client)])
        return job

    def submit_many(self, kind: str, many: Sequence[Mapping[str, Any]], *, client: str = "") -> Jobs:
        """Queue jobs that belong together, such as a playlist: all of them in order, or none.

        Raises
        ------
        UltimateRVCError
            As :meth:`submit`, for the first that cannot be done.
        """
        group = secrets.token_hex(8)
        return self._submit(
            [new_job(self._kinds, kind, settings, client=client, group=group) for settings in many]
        )

    def rerun(
        self, job_id: int, changes: Mapping[str, Any] | None = None, *, client: str | None = None
    ) -> Job:
        """Queue a new job with the settings of an earlier one, some of them changed, for its client or another.

        Objects in ``changes`` are merged name by name, other values replaced; ``optimization`` is replaced whole.

        Raises
        ------
        UltimateRVCError
            As :meth:`submit`; there is no such job.
        """
        (job,) = self._submit([repeated_job(self._kinds, self.get(job_id), changes or {}, client=client)])
        return job

    def _submit(self, jobs: Sequence[Job]) -> Jobs:
        with self._changed:
            if self._closed.is_set():
                raise JobError("The server is closing; submit the job again when it runs.")
            kept = self._store.add(jobs)
            for job in kept:
                self._admit(job)
            return kept

    def _admit(self, job: Job) -> None:
        self._live[job.id] = job
        self._order_of(job).add(job.client, job.id)
        self._tell(job)

    def _order_of(self, job: Job) -> FairOrder:
        return self._orders[self._kinds[job.kind].uses_device]

    def _admit_waiting(self) -> None:
        for job in self._store.find(states=[JobState.QUEUED]):
            if job.kind not in self._kinds:  # written by another version
                error = f"This version knows no jobs of the kind {job.kind!r}."
                self._store.save(replace(job, state=JobState.FAILED, error=error, finished=time.time()))
            elif job.id not in self._live:
                self._admit(job)

    # ----------------------------------------------------------------- look

    def get(self, job_id: int) -> Job:
        """The job as it stands now.

        Raises
        ------
        JobError
            There is no such job.
        """
        with self._changed:
            job = self._live.get(job_id) or self._store.get(job_id)
        if job is None:
            raise JobError(f"There is no job {job_id}; it may have been cleared.")
        return job

    def work_folder(self, job_id: int) -> Path:
        """Where a job keeps what is unfinished while it runs."""
        return self.folder / WORK_FOLDER / str(job_id)

    def list(
        self,
        *,
        client: str | None = None,
        states: Collection[JobState] = (),
        group: str | None = None,
        limit: int | None = None,
    ) -> Jobs:
        """Jobs in the order they came; with ``limit`` the last so many of them."""
        with self._changed:
            kept = self._store.find(client=client, states=states, group=group, limit=limit)
            jobs = {job.id: job for job in kept} | {
                job.id: job
                for job in self._live.values()
                if client in (None, job.client) and group in (None, job.group)
            }
        wanted = [job for _, job in sorted(jobs.items()) if not states or job.state in states]
        return wanted if limit is None else wanted[-limit:]

    def waiting(self) -> Ids:
        """Ids of the jobs that wait for a device, in the order of their turns, then those of errands."""
        with self._changed:
            return [job_id for order in self._orders.values() for job_id in order]

    def wait(self, job_id: int, seconds: float | None = None) -> Job:
        """The job once it is finished, or as it stands after ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_settled(job_id), seconds)
            return self.get(job_id)

    def _is_settled(self, job_id: int) -> bool:
        return self._closed.is_set() or job_id not in self._live or self._live[job_id].state.is_finished

    def subscribe(self, client: str | None = None) -> Subscription:
        """Be told of changes, of one client's jobs or of all."""
        with self._changed:
            subscription = Subscription(client, self._forget)
            self._subscriptions.append(subscription)
            return subscription

    def _forget(self, subscription: Subscription) -> None:
        with self._changed, suppress(ValueError):
            self._subscriptions.remove(subscription)

    # --------------------------------------------------------------- change

    def cancel(self, job_id: int) -> Job:
        """Cancel a job; one that is finished stays as it is.

        A waiting job is cancelled when this returns, a running one within the time of its kind (2 s at
        most where docs/jobs.md says no other): :meth:`wait` waits for that.

        Raises
        ------
        JobError
            There is no such job.
        """
        with self._changed:
            job = self.get(job_id)
            if job.state is JobState.QUEUED:
                if not any(order.remove(job_id) for order in self._orders.values()):
                    self._live[job_id] = job  # kept from an earlier server and left alone by this one
                self._change(job_id, state=JobState.CANCELLED, finished=time.time(), cancel_wanted=True)
            elif job.state is JobState.RUNNING:
                self._change(job_id, cancel_wanted=True)
                self._running[job_id].cancel()
            return self.get(job_id)

    def cancel_group(self, group: str) -> Jobs:
        """Cancel what is not finished of a playlist."""
        unfinished = [job for job in self.list(group=group) if not job.state.is_finished]
        # The last first: otherwise the next in turn would begin before it is cancelled.
        return [self.cancel(job.id) for job in reversed(unfinished)][::-1]

    def clear(
        self,
        ids: Collection[int] | None = None,
        *,
        client: str | None = None,
        states: Collection[JobState] = FINISHED,
    ) -> Ids:
        """Forget finished jobs, those with ``ids`` or all of them, and say which; the files they made stay.

        Raises
        ------
        JobError
            One of ``ids`` is not finished, or not there.
        """
        with self._changed:
            for job_id in ids or ():
                if not self.get(job_id).state.is_finished:
                    raise JobError(f"Job {job_id} is not finished; cancel it first.")
            finished = [
                job.id
                for job in self.list(client=client, states=[state for state in states if state.is_finished])
                if ids is None or job.id in ids
            ]
            self._store.delete(finished)
            for job_id in finished:
                self._live.pop(job_id, None)
                self._unsaved.discard(job_id)
            self._mark_change()
            return finished

    # ------------------------------------------------- what slots ask and tell

    def next_job(self, slot: Slot, seconds: float | None) -> Job | None:
        """For a slot: its next job, now running."""
        end = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            order = self._orders[slot.device is not None]
            while not slot.is_closing:
                job_id = order.take(lambda waiting: slot.fits(self._live[waiting], self._devices))
                if job_id is not None:
                    self._running[job_id] = slot
                    return self._change(job_id, state=JobState.RUNNING, started=time.time())
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            return None

    def told(self, job_id: int, step: str, fraction: float, text: str) -> None:
        """For a slot: progress of its job."""
        with self._changed:
            job = self._live[job_id]
            whole = overall_fraction(self._kinds[job.kind].shares, step, fraction, job.fraction)
            left = seconds_left(time.time() - (job.started or 0), whole)
            now = time.monotonic()
            save = now - self._saved_at.get(job_id, 0.0) >= SAVE_SECONDS
            if save:
                self._saved_at[job_id] = now
            self._change(
                job_id,
                save=save,
                step=step,
                step_fraction=fraction,
                text=text,
                fraction=whole,
                seconds_left=left,
            )

    def ended(self, job_id: int, outcome: Outcome) -> None:
        """For a slot: the end of its job."""
        with self._changed:
            del self._running[job_id]
            self._saved_at.pop(job_id, None)
            whole = ("fraction", "step_fraction") if outcome.state is JobState.DONE else ()
            done: dict[str, Any] = dict.fromkeys(whole, 1.0)
            self._change(job_id, finished=time.time(), seconds_left=None, **vars(outcome), **done)

    # ---------------------------------------------------------------- inside

    def _change(self, job_id: int, *, save: bool = True, **changes: Any) -> Job:
        """A live job with changes: kept, written, told."""
        job = self._live[job_id] = replace(self._live[job_id], **changes)
        if save:
            self._save(job)
        self._tell(job)
        return job

    def _save(self, job: Job) -> None:
        """Write a job; if that fails it stays live, and the watcher tries again."""
        try:
            self._store.save(job)
        except JobError as error:
            self._unsaved.add(job.id)
            if self.trouble is None:
                log.error("%s", error)
            self.trouble = str(error)
            return
        self._unsaved.discard(job.id)
        if not self._unsaved:
            self.trouble = None
        if job.state.is_finished:
            del self._live[job.id]

    def _tell(self, job: Job) -> None:
        for subscription in self._subscriptions:
            subscription.tell(job)
        self._mark_change()

    def _mark_change(self) -> None:
        self.revision += 1
        self._changed.notify_all()

    def _watch(self) -> None:
        """Do what other processes wish, and write what could not be written."""
        while not self._closed.wait(WATCH_SECONDS):
            try:
                with self._changed:
                    if not self._closed.is_set():
                        self._look_around()
            except JobError as error:
                log.warning("%s", error)

    def _look_around(self) -> None:
        for job_id in sorted(self._unsaved):
            self._save(self._live[job_id])
        changes = self._store.foreign_changes()
        if changes == self._foreign_changes:
            return
        self._foreign_changes = changes
        for job_id in self._store.wanted_cancelled():
            job = self._live.get(job_id)
            if job is None or not job.cancel_wanted:
                self.cancel(job_id)
        if self._resume:
            self._admit_waiting()
        self._mark_change()  # jobs may have been cleared

    # ----------------------------------------------------------------- close

    @property
    def worker_pids(self) -> Ids:
        """Of the processes that have models open at present."""
        return [pid for slot in self._slots if (pid := slot.worker_pid) is not None]

    def close(self) -> None:
        """End: what runs is interrupted, what waits is kept for the next server. Idempotent."""
        with self._changed:
            if self._closed.is_set():
                return
            self._closed.set()
            for slot in self._slots:
                slot.begin_closing()
            self._changed.notify_all()
        for slot in self._slots:
            slot.join()
        self._watcher.join()
        for subscription in list(self._subscriptions):
            subscription.close()
        with suppress(JobError):
            self._store.close()
        self._server_lock.release()
        atexit.unregister(self.close)

    def __enter__(self) -> JobQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

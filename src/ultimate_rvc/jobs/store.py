"""The list of jobs on disk: an SQLite file that outlives the server and that several processes may open."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee

from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.work.result import WorkResult

FILE_NAME = "jobs.sqlite3"
SCHEMA_VERSION = 1
WAIT_SECONDS = 10  # for another process that writes at this moment
PRAGMAS = {
    "journal_mode": "wal",  # readers and a writer do not wait for each other
    "synchronous": "normal",  # a killed process loses nothing; a power cut at most the last moments
}
INTERRUPTED = "It was interrupted: the server ended before the job did; run it again to go on."
_MOVE = "make room or mend it, or move the folder with URVC_AUDIO_DIR"
# Of SQLite's own words, which peewee passes on; the first that is found counts.
_TROUBLES = (
    ("disk is full", f"cannot be written: the disk is full; {_MOVE}"),
    ("readonly", f"cannot be written: it is read-only; {_MOVE}"),
    ("unable to open", f"cannot be opened or made; {_MOVE}"),
    ("disk i/o error", f"cannot be read or written (disk I/O error); {_MOVE}"),
    ("not a database", "is no list of jobs; rename it, and a new one is made"),
    ("malformed", "is damaged; rename it, and a new one is made"),
    ("locked", "is in use by another program; try again"),
)


class JobStore:
    """Jobs below ``folder``; every method may be called from any thread.

    Raises
    ------
    JobError
        From every method: the file cannot be opened, read or written, is damaged, or its disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock = threading.RLock()
        # One connection for all threads, which take turns: the work of each is a matter of microseconds.
        self._database = peewee.SqliteDatabase(
            str(self.path),
            PRAGMAS,
            thread_safe=False,
            autoconnect=False,
            check_same_thread=False,
            timeout=WAIT_SECONDS,
        )
        self._rows: Any = _row_class(self._database)
        with self._work():
            folder.mkdir(parents=True, exist_ok=True)
            self._database.connect()
            self._prepare()

    def _prepare(self) -> None:
        with self._database.atomic("IMMEDIATE"):
            version = self._database.user_version
            if version > SCHEMA_VERSION:
                raise JobError(
                    f"The list of jobs {self.path} was written by a newer version; update, or rename it."
                )
            self._database.create_tables([self._rows])
            self._database.user_version = SCHEMA_VERSION

    def close(self) -> None:
        with self._work():
            self._database.close()

    # ---------------------------------------------------------------- write

    def add(self, jobs: Sequence[Job]) -> list[Job]:
        """Keep new jobs, all or none, and return them with their ids."""
        with self._work(), self._database.atomic():
            return [replace(job, id=self._rows.insert(_columns(job)).execute()) for job in jobs]

    def save(self, job: Job) -> None:
        """Write how a job stands. A wish to cancel it, from wherever, is not taken back by that."""
        columns = _columns(job)
        if not job.cancel_wanted:
            del columns["cancel_wanted"]
        with self._work():
            self._rows.update(columns).where(self._rows.id == job.id).execute()

    def want_cancel(self, job_id: int) -> None:
        """Note the wish, for the process that works on the jobs."""
        with self._work():
            self._rows.update(cancel_wanted=True).where(self._rows.id == job_id).execute()

    def interrupt_running(self) -> list[Job]:
        """Mark what was running when its server ended; only for who holds the lock of the jobs."""
        interrupted = [
            replace(job, state=JobState.INTERRUPTED, error=INTERRUPTED, seconds_left=None)
            for job in self.find(states=[JobState.RUNNING])
        ]
        for job in interrupted:
            self.save(job)
        return interrupted

    def delete(self, ids: Collection[int]) -> None:
        with self._work(), self._database.atomic():
            for job_id in ids:
                self._rows.delete().where(self._rows.id == job_id).execute()

    # ----------------------------------------------------------------- read

    def get(self, job_id: int) -> Job | None:
        with self._work():
            row = self._rows.select().where(self._rows.id == job_id).dicts().first()
        return _job(row) if row else None

    def find(
        self,
        *,
        states: Collection[JobState] = (),
        client: str | None = None,
        group: str | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """Jobs in the order they came; with ``limit`` the last so many of them."""
        rows = self._rows
        query = rows.select().order_by(rows.id.desc()).limit(limit)
        if states:
            query = query.where(rows.state.in_([str(state) for state in states]))
        if client is not None:
            query = query.where(rows.client == client)
        if group is not None:
            query = query.where(rows.group == group)
        with self._work():
            found = list(query.dicts())
        return [_job(row) for row in reversed(found)]

    def wanted_cancelled(self) -> list[int]:
        """Ids of unfinished jobs that somebody wants cancelled."""
        rows = self._rows
        unfinished = [str(state) for state in JobState if not state.is_finished]
        with self._work():
            query = rows.select(rows.id).where(rows.cancel_wanted & rows.state.in_(unfinished))
            return [row["id"] for row in query.dicts()]

    def foreign_changes(self) -> int:
        """A number that changes when another process has written."""
        with self._work():
            return int(self._database.data_version)

    @contextmanager
    def _work(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (peewee.PeeweeException, sqlite3.Error, OSError) as error:
            raise JobError(f"The list of jobs {self.path} {_trouble(error)}.") from error


def _trouble(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"cannot be made ({error.strerror}); {_MOVE}"
    # SQLite rolls back by itself when the disk is full, so that rolling back is the error that is seen.
    first: BaseException | None = error
    while first is not None:
        text = str(first).lower()
        if told := next((told for words, told in _TROUBLES if words in text), None):
            return told
        first = first.__cause__ or first.__context__
    return f"cannot be used: {error}"


def _row_class(database: peewee.SqliteDatabase) -> type[peewee.Model]:
    """The table, for one database: a class of its own, so that several can be open."""

    class JobRow(peewee.Model):
        # Numbers of jobs that were cleared are not given again: a page may still show them.
        id = peewee.AutoField(constraints=[peewee.SQL("AUTOINCREMENT")])
        kind = peewee.TextField()
        title = peewee.TextField()
        settings = peewee.TextField()  # JSON
        client = peewee.TextField(index=True)
        group = peewee.TextField(null=True, index=True)
        rerun_of = peewee.IntegerField(null=True)
        state = peewee.TextField(index=True)
        created = peewee.DoubleField()
        started = peewee.DoubleField(null=True)
        finished = peewee.DoubleField(null=True)
        step = peewee.TextField()
        step_fraction = peewee.DoubleField()
        text = peewee.TextField()
        fraction = peewee.DoubleField()
        seconds_left = peewee.DoubleField(null=True)
        cancel_wanted = peewee.BooleanField()
        error = peewee.TextField(null=True)
        details = peewee.TextField(null=True)
        result = peewee.TextField(null=True)  # JSON

        class Meta:
            table_name = "job"

    JobRow.bind(database)
    return JobRow


def _columns(job: Job) -> dict[str, Any]:
    columns = vars(job) | {
        "state": str(job.state),
        "settings": json.dumps(job.settings),
        "result": json.dumps(job.result.as_dict()) if job.result else None,
    }
    del columns["id"]
    return columns


def _job(row: dict[str, Any]) -> Job:
    result = row["result"]
    return Job(
        **row
        | {
            "state": JobState(row["state"]),
            "settings": json.loads(row["settings"]),
            "result": WorkResult.from_dict(json.loads(result)) if result else None,
        }
    )

"""Endpoints that look at jobs and change them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import KINDS_WITH_FILES, files_there, job_json
from ultimate_rvc.web.desk import Door
from ultimate_rvc.web.local_files import refuse_local_files
from ultimate_rvc.work.kinds import schema_of

LONGEST_WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.2
MOST_JOBS = 1000


class JobEndpoints:
    """Each public method is the endpoint of its name."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def functions(self) -> list[Callable[..., Any]]:
        return [
            *(self.jobs, self.job, self.wait_for_job, self.cancel_job, self.rerun_job, self.clear_jobs),
            *(self.submit_job, self.settings_schema),
        ]

    def jobs(self, client: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """The latest jobs, in the order they came."""
        limit = _whole("limit", limit, MOST_JOBS)
        return [
            job_json(job) for job in self._door.queue.list(client=self._door.seen_by(client), limit=limit)
        ]

    def job(self, job_id: int, client: str = "") -> dict[str, Any]:
        """One job as it stands."""
        return job_json(self._own(job_id, client))

    async def wait_for_job(self, job_id: int, seconds: float = 30.0, client: str = "") -> dict[str, Any]:
        """The job once it is finished, or as it stands after so many seconds, 60 at most."""
        if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_WAIT_SECONDS:
            raise SettingError(f"seconds is {seconds!r}, but must be from 0 to {LONGEST_WAIT_SECONDS:g}.")
        end = time.monotonic() + seconds
        # Not a thread of the server for each who waits: there are few of them.
        while not (job := self._own(job_id, client)).state.is_finished and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
        return job_json(job)

    def cancel_job(self, job_id: int, client: str = "") -> dict[str, Any]:
        """Cancel a job; one that is finished stays as it is."""
        return job_json(self._door.queue.cancel(self._own(job_id, client).id))

    def rerun_job(
        self, job_id: int, changes: dict[str, Any] | None = None, client: str = ""
    ) -> dict[str, Any]:
        """Queue a job with the settings of an earlier one, some of them changed."""
        if changes is not None and not isinstance(changes, Mapping):
            raise SettingError("changes must be an object with names and values.")
        refuse_local_files(self._door, changes or {})
        return job_json(self._door.queue.rerun(self._own(job_id, client).id, changes, client=client))

    def clear_jobs(self, client: str = "") -> list[int]:
        """Forget finished jobs; the files they made stay."""
        return self._door.queue.clear(client=self._door.seen_by(client))

    def submit_job(self, kind: str, settings: dict[str, Any], client: str = "") -> dict[str, Any]:
        """Queue a job of any kind, with settings as its schema says; files are those of the server."""
        if not isinstance(settings, Mapping):
            raise SettingError("settings must be an object with names and values.")
        refuse_local_files(self._door, settings)
        # As with every link that others give: it may not lead into the server's own network.
        own = {"allow_local": self._door.server.is_local} if kind == "import-voice" else {}
        return job_json(self._door.submit(_kind(kind), {**settings, **own}, client))

    def settings_schema(self, kind: str) -> dict[str, Any]:
        """JSON Schema of the settings of a kind of job."""
        return schema_of(_kind(kind))

    def job_files(self, job_id: int, client: str = "") -> list[str]:
        """The files that a cover, conversion or separation made."""
        job = self._own(job_id, client)
        if job.result is None or job.kind not in KINDS_WITH_FILES:
            raise JobError(f"Job {job.id} has no files to fetch.")
        return [str(file.path) for file in files_there(job)]

    def _own(self, job_id: int, client: str) -> Job:
        """A job of this client, on a local server any."""
        job = self._door.queue.get(_whole("job_id", job_id, 2**63 - 1))
        if self._door.seen_by(client) not in (None, job.client):
            raise JobError(f"There is no job {job_id}; it may have been cleared.")
        return job


def _kind(kind: object) -> str:
    if not isinstance(kind, str):
        raise SettingError(f"kind is {kind!r}, but must be a text.")
    return kind


def _whole(name: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise SettingError(f"{name} is {value!r}, but must be a whole number from 1 to {most}.")
    return value

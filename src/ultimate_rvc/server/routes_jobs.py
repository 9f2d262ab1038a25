"""``/v1/jobs``: what was asked for and takes its time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.events import Subscription
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.outside import KINDS_WITH_FILES
from ultimate_rvc.server.api import Api, told
from ultimate_rvc.server.described import answers

MOST_JOBS = 1000
LONGEST_WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.1
KEEP_ALIVE_SECONDS = 15.0  # proxies close connections on which nothing comes


def add_jobs(router: APIRouter, api: Api) -> None:
    """Add the routes."""

    @router.get("/v1/jobs", tags=["jobs"], responses=answers())
    def list_jobs(
        request: Request, limit: int = Query(100, ge=1, le=MOST_JOBS), state: JobState | None = None
    ) -> dict[str, Any]:
        """The latest jobs, in the order they came."""
        states = [state] if state is not None else ()
        jobs = api.queue.list(client=api.seen_by(request), states=states, limit=limit)
        return {"jobs": [told(job) for job in jobs]}

    @router.get("/v1/jobs/{job_id}", tags=["jobs"], responses=answers())
    async def get_job(
        request: Request, job_id: int, wait: float = Query(0.0, ge=0, le=LONGEST_WAIT_SECONDS)
    ) -> dict[str, Any]:
        """A job as it stands, or once it is finished, within ``wait`` seconds."""
        end = asyncio.get_running_loop().time() + wait
        while not (job := own(request, job_id)).state.is_finished and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(LOOK_SECONDS)
        return told(job)

    @router.delete("/v1/jobs/{job_id}", tags=["jobs"], responses=answers())
    def cancel_job(request: Request, job_id: int) -> dict[str, Any]:
        """Cancel a job; one that is finished stays as it is."""
        return told(api.queue.cancel(own(request, job_id).id))

    @router.get("/v1/jobs/{job_id}/events", tags=["jobs"], responses=answers())
    async def job_events(request: Request, job_id: int) -> Response:
        """The job at each change, as server-sent events named ``job``, until it is finished."""
        job = own(request, job_id)
        return StreamingResponse(
            _events(api, job), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @router.get("/v1/jobs/{job_id}/files/{number}", tags=["jobs"], responses=answers(sound=True))
    def job_file(request: Request, job_id: int, number: int) -> Response:
        """A file that the job made, by its place in ``result.files``."""
        job = own(request, job_id)
        files = job.result.files if job.result is not None and job.kind in KINDS_WITH_FILES else ()
        if not 0 <= number < len(files) or not files[number].path.is_file():
            raise JobError(f"Job {job.id} has no file {number} to fetch.")
        return FileResponse(files[number].path, filename=files[number].path.name)

    def own(request: Request, job_id: int) -> Job:
        """A job of whoever asks; where only this machine's user does, any."""
        if not 0 < job_id < 2**63:
            raise JobError(f"There is no job {job_id}.")
        job = api.queue.get(job_id)
        if api.seen_by(request) not in (None, job.client):
            raise JobError(f"There is no job {job_id}; it may have been cleared.")
        return job


async def _events(api: Api, job: Job) -> AsyncIterator[str]:
    with api.queue.subscribe() as changes:
        job = api.queue.get(job.id)  # what changed before is in it
        yield _event(job)
        quiet = 0.0
        while not job.state.is_finished and not changes.is_closed:
            await asyncio.sleep(LOOK_SECONDS)
            quiet += LOOK_SECONDS
            if (latest := _latest(changes, job)) is not None:
                job, quiet = latest, 0.0
                yield _event(job)
            elif quiet >= KEEP_ALIVE_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"


def _latest(changes: Subscription, job: Job) -> Job | None:
    return next((changed for changed in changes.wait(0) if changed.id == job.id), None)


def _event(job: Job) -> str:
    return f"event: job\nid: {job.id}\ndata: {json.dumps(told(job))}\n\n"

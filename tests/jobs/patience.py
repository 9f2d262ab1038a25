"""Waiting for jobs and processes, far longer than they take: the machine may be busy or stand still."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.queue import JobQueue

PATIENCE_SECONDS = 900


def finished(queue: JobQueue, job: Job) -> Job:
    job = queue.wait(job.id, PATIENCE_SECONDS)
    assert job.state.is_finished, job
    return job


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"

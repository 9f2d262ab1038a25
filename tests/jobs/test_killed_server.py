"""A server killed in the midst of jobs loses nothing, and two servers do not meet on one list."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.patience import eventually, finished, is_alive
from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.jobs.store import JobStore

PROGRAM = Path(__file__).with_name("killed_server.py")

Opener = Callable[..., JobQueue]


@pytest.fixture
def server(tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """A server with its second of three jobs at work, and the process id of its worker."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    arguments = [str(tmp_path / "jobs"), str(tmp_path / "gate")]
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True, env=variables
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_server_loses_nothing(
    server: tuple[subprocess.Popen[str], int], open_queue: Opener, tmp_path: Path
) -> None:
    """Finished work is kept, what ran is interrupted and runs again on demand, what waited goes on."""
    process, worker = server
    kill(process)
    eventually(lambda: not is_alive(worker))
    queue = open_queue()
    first, second, third = (queue.get(job_id) for job_id in (1, 2, 3))
    assert first.state is JobState.DONE
    assert first.result is not None
    assert first.result.files[0].path.read_text() == "first"
    assert second.state is JobState.INTERRUPTED
    assert "run it again" in (second.error or "")
    assert not (tmp_path / "jobs" / "made-second").exists()
    (tmp_path / "gate").touch()
    assert finished(queue, third).state is JobState.DONE
    again = finished(queue, queue.rerun(2))
    assert again.state is JobState.DONE
    assert again.result is not None
    assert again.result.files[0].path.read_text() == "second"
    assert again.client == "other"
    assert not any((tmp_path / "jobs" / "work").iterdir())


def test_a_second_server_is_refused_while_the_first_lives(
    server: tuple[subprocess.Popen[str], int], open_queue: Opener
) -> None:
    process, _ = server
    with pytest.raises(JobError, match="Another page or command works on the jobs"):
        open_queue()
    kill(process)
    assert open_queue().get(1).state is JobState.DONE


def test_another_process_may_look_cancel_and_submit(
    server: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    """By the list alone: the server looks for such wishes."""
    process, worker = server
    store = JobStore(tmp_path / "jobs")
    third = store.get(3)
    assert third is not None
    (added,) = store.add([Job(**vars(third) | {"settings": {**third.settings, "name": "fourth"}})])
    store.want_cancel(2)
    store.want_cancel(3)
    eventually(lambda: state(store, 2) is state(store, 3) is JobState.CANCELLED)
    (tmp_path / "gate").touch()
    eventually(lambda: state(store, added.id) is JobState.DONE)
    assert (tmp_path / "jobs" / "made-fourth").read_text() == "fourth"
    store.close()
    kill(process)
    eventually(lambda: not is_alive(worker))


def state(store: JobStore, job_id: int) -> JobState | None:
    job = store.get(job_id)
    return job.state if job else None


def test_what_waited_is_left_alone_by_a_queue_for_one_job(
    server: tuple[subprocess.Popen[str], int], open_queue: Opener
) -> None:
    kill(server[0])
    queue = open_queue(resume=False)
    assert finished(queue, queue.submit("work", {"name": "mine"})).state is JobState.DONE
    assert queue.get(3).state is JobState.QUEUED
    assert queue.waiting() == []
    assert queue.cancel(3).state is JobState.CANCELLED

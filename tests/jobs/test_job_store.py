"""The list of jobs on disk: what goes wrong with it is one sentence, and loses nothing that can be kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.patience import eventually, finished
from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.lock import ServerLock
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.jobs.store import FILE_NAME, JobStore
from ultimate_rvc.progress import StepTime
from ultimate_rvc.work.result import ResultFile, WorkResult

Opener = Callable[..., JobQueue]
JOB = Job(
    id=0, kind="work", title="a job", settings={"name": "ö", "more": [1, None, {"x": 0.5}]}, created=1.0
)


def one_line(error: pytest.ExceptionInfo[JobError]) -> str:
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_job_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    result = WorkResult(
        files=(ResultFile("cover", tmp_path / "ö.mp3", "song.wav"),),
        steps=(StepTime("mix", 0.1, cached=True, files=(tmp_path / "mix.wav",)),),
        warnings=("Loud.",),
        device="cuda:0",
        precision="float16",
        facts={"nested": [{"a": None}]},
    )
    store = JobStore(tmp_path)
    (job,) = store.add(
        [replace(JOB, group="g", rerun_of=3, cancel_wanted=True, details="x\ny", result=result)]
    )
    store.close()
    assert JobStore(tmp_path).get(job.id) == job


def test_numbers_are_not_given_again(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    first, second = store.add([JOB, JOB])
    store.delete([second.id])
    (third,) = store.add([JOB])
    assert third.id not in (first.id, second.id)


def test_saving_does_not_take_a_wish_to_cancel_back(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    (job,) = store.add([JOB])
    store.want_cancel(job.id)
    store.save(replace(job, state=JobState.RUNNING))
    assert store.wanted_cancelled() == [job.id]


def test_the_last_jobs_are_found_in_order(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    jobs = store.add([replace(JOB, client="ab"[number % 2]) for number in range(6)])
    assert store.find(limit=2) == jobs[-2:]
    assert store.find(client="a") == jobs[::2]


def test_a_file_that_is_no_list_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"This is a text, and long enough to be looked at. " * 100)
    with pytest.raises(JobError) as error:
        JobStore(tmp_path)
    assert "is no list of jobs; rename it" in one_line(error)


def test_a_list_of_a_newer_version_is_told(tmp_path: Path) -> None:
    JobStore(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JobError) as error:
        JobStore(tmp_path)
    assert "newer version" in one_line(error)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JobError) as error:
        JobStore(tmp_path / "file" / "jobs")
    assert "cannot be made" in one_line(error)


def read_only(store: JobStore) -> None:
    store._database.pragma("query_only", 1)


def writable(store: JobStore) -> None:
    store._database.pragma("query_only", 0)


def full(store: JobStore) -> None:
    """No page more than there are: what a full disk gives."""
    store._database.pragma("max_page_count", 1)


def test_a_list_that_is_read_only_is_told(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    read_only(store)
    with pytest.raises(JobError) as error:
        store.add([JOB])
    assert "it is read-only; make room or mend it" in one_line(error)


def test_a_full_disk_is_told_and_nothing_is_half_queued(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    full(store)
    long = replace(JOB, settings={"name": "x" * 20_000})
    with pytest.raises(JobError) as error:
        store.add([JOB, long, long])
    assert "the disk is full" in one_line(error)
    assert store.find() == []


def test_a_waiting_job_of_another_version_is_told(open_queue: Opener, tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    unknown, old = store.add([replace(JOB, kind="dance"), replace(JOB, settings={"nam": "x"})])
    store.close()
    queue = open_queue()
    assert "no jobs of the kind 'dance'" in (queue.get(unknown.id).error or "")
    failed = finished(queue, old)
    assert failed.state is JobState.FAILED
    assert "There is no setting nam" in (failed.error or "")


def test_a_lock_that_another_holds_is_told(tmp_path: Path) -> None:
    holder = ServerLock(tmp_path)
    holder.acquire()
    with pytest.raises(JobError) as error:
        ServerLock(tmp_path).acquire()
    assert "works on the jobs" in one_line(error)
    holder.release()
    ServerLock(tmp_path).acquire()


def test_what_cannot_be_written_is_refused_and_what_runs_is_kept(open_queue: Opener, tmp_path: Path) -> None:
    """A disk that fills up while a job runs costs neither the job nor its result."""
    queue, gate = open_queue(), tmp_path / "gate"
    job = queue.submit("work", {"gate": str(gate)})
    eventually(lambda: queue.get(job.id).step == "wait")
    read_only(queue._store)
    with pytest.raises(JobError, match="read-only"):
        queue.submit("work", {})
    gate.touch()
    done = finished(queue, job)
    assert done.state is JobState.DONE
    assert "read-only" in (queue.trouble or "")
    assert [each.state for each in queue.list()] == [JobState.DONE]
    assert queue.list(states=[JobState.RUNNING]) == []
    writable(queue._store)
    eventually(lambda: queue.trouble is None)
    queue.close()
    kept = JobStore(tmp_path / "jobs").get(job.id)
    assert kept is not None
    assert kept.result == done.result

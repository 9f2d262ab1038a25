"""Jobs are done in turn by a process of their own, and told of, whatever becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.patience import PATIENCE_SECONDS, eventually, finished, is_alive
from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.queue import JobQueue

Opener = Callable[..., JobQueue]


def test_a_job_is_done_and_its_result_kept(open_queue: Opener, tmp_path: Path) -> None:
    queue = open_queue()
    job = queue.submit("work", {"name": "first"}, client="me")
    assert (job.state, job.title, job.client) == (JobState.QUEUED, "the job first", "me")
    done = finished(queue, job)
    assert done.state is JobState.DONE
    assert done.error is None
    assert done.fraction == 1
    assert done.elapsed_seconds is not None
    assert done.result is not None
    assert [file.path.read_text() for file in done.result.files] == ["first"]
    assert [step.name for step in done.result.steps] == ["wait", "one", "two"]
    assert (done.result.warnings, done.result.device) == (("A warning.",), "cpu")
    assert not (tmp_path / "jobs" / "work" / str(job.id)).exists()
    queue.close()
    assert open_queue().get(job.id) == done


def test_jobs_of_one_worker_share_its_process(open_queue: Opener) -> None:
    queue = open_queue()
    first, second = (finished(queue, queue.submit("work", {})).result for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.facts["pid"] == second.facts["pid"]


def test_clients_take_turns_and_each_keeps_its_order(open_queue: Opener, tmp_path: Path) -> None:
    queue, diary, gate = open_queue(), tmp_path / "diary", tmp_path / "gate"
    holder = queue.submit("work", {"name": "holder", "gate": str(gate), "diary": str(diary)}, client="a")
    eventually(lambda: queue.get(holder.id).state is JobState.RUNNING)
    jobs = [queue.submit("work", {"name": f"a{i}", "diary": str(diary)}, client="a") for i in range(3)]
    jobs += [queue.submit("work", {"name": f"b{i}", "diary": str(diary)}, client="b") for i in range(2)]
    a0, a1, a2, b0, b1 = (job.id for job in jobs)
    assert queue.waiting() == [a0, b0, a1, b1, a2]
    gate.touch()
    for job in jobs:
        assert finished(queue, job).state is JobState.DONE
    turns = [line.split()[0] for line in diary.read_text().splitlines()]
    assert turns == ["holder", "a0", "b0", "a1", "b1", "a2"]


def test_progress_is_told_while_a_job_runs(open_queue: Opener, tmp_path: Path) -> None:
    queue, gate = open_queue(), tmp_path / "gate"
    with queue.subscribe("me") as mine, queue.subscribe("other") as others:
        job = queue.submit("work", {"gate": str(gate)}, client="me")
        seen: list[Job] = []
        while not any(each.step == "wait" for each in seen):
            seen += mine.wait(PATIENCE_SECONDS)
        waiting = seen[-1]
        assert (waiting.state, waiting.text) == (JobState.RUNNING, "for the gate")
        assert (waiting.step_fraction, waiting.fraction) == (0.5, 0.25)
        gate.touch()
        while seen[-1].state is not JobState.DONE:
            seen += mine.wait(PATIENCE_SECONDS)
        fractions = [each.fraction for each in seen]
        assert fractions == sorted(fractions)
        assert {each.id for each in seen} == {job.id}
        assert others.wait(0) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("told", "This cannot be done; do that."),
        ("bug", "This is a bug (ZeroDivisionError: division by zero)"),
        ("memory", "too little free memory"),
        ("full", "No space left on device: song.wav."),
    ],
)
def test_a_failure_is_a_sentence_with_its_details_apart(open_queue: Opener, name: str, told: str) -> None:
    queue = open_queue()
    job = finished(queue, queue.submit("fail", {"name": name}))
    assert job.state is JobState.FAILED
    assert told in (job.error or "")
    assert "Traceback" not in (job.error or "")
    assert "Traceback" in (job.details or "")
    assert finished(queue, queue.submit("work", {})).state is JobState.DONE


@pytest.mark.parametrize(
    ("kind", "told"), [("die", "memory ran out"), ("leave", "ended unexpectedly (code 3)")]
)
def test_a_worker_that_dies_fails_its_job_and_no_other(open_queue: Opener, kind: str, told: str) -> None:
    queue = open_queue()
    job = finished(queue, queue.submit(kind, {}))
    assert job.state is JobState.FAILED
    assert told in (job.error or "")
    assert finished(queue, queue.submit("work", {})).state is JobState.DONE


# ------------------------------------------------------------------------------------- cancelling


def test_a_job_that_listens_is_cancelled_and_its_worker_stays(open_queue: Opener, tmp_path: Path) -> None:
    queue = open_queue()
    job = queue.submit("work", {"gate": str(tmp_path / "never")})
    eventually(lambda: queue.get(job.id).step == "wait")
    (worker,) = queue.worker_pids
    assert queue.cancel(job.id).cancel_wanted
    assert finished(queue, job).state is JobState.CANCELLED
    assert queue.worker_pids == [worker]


def test_a_job_that_does_not_listen_is_ended_within_two_seconds(open_queue: Opener, tmp_path: Path) -> None:
    """With what it started; the next job gets a new worker."""
    queue = open_queue()
    durations = [seconds_to_end_one_that_does_not_listen(queue, tmp_path / "0")]
    while min(durations) >= 2.0 and len(durations) < 3:  # the machine may have stood still
        durations.append(seconds_to_end_one_that_does_not_listen(queue, tmp_path / str(len(durations))))
    assert min(durations) < 2.0
    assert not any((tmp_path / "jobs" / "work").iterdir())
    assert finished(queue, queue.submit("work", {})).state is JobState.DONE


def seconds_to_end_one_that_does_not_listen(queue: JobQueue, diary: Path) -> float:
    job = queue.submit("ignore", {"diary": str(diary)})
    eventually(lambda: diary.exists() and len(diary.read_text().split()) == 2)
    worker, child = (int(pid) for pid in diary.read_text().split())
    assert queue.worker_pids == [worker]
    started = time.monotonic()
    queue.cancel(job.id)
    assert finished(queue, job).state is JobState.CANCELLED
    seconds = time.monotonic() - started
    eventually(lambda: not is_alive(worker) and not is_alive(child))
    return seconds


def test_a_waiting_job_is_cancelled_at_once(open_queue: Opener, tmp_path: Path) -> None:
    queue, gate = open_queue(), tmp_path / "gate"
    queue.submit("work", {"gate": str(gate)})
    waiting = queue.submit("work", {"name": "waiting"})
    assert queue.cancel(waiting.id).state is JobState.CANCELLED
    assert waiting.id not in queue.waiting()
    gate.touch()
    assert finished(queue, queue.submit("work", {})).state is JobState.DONE
    assert queue.get(waiting.id).result is None


def test_cancelling_a_finished_job_changes_nothing(open_queue: Opener) -> None:
    queue = open_queue()
    done = finished(queue, queue.submit("work", {}))
    assert queue.cancel(done.id) == done


def test_a_playlist_is_queued_in_order_and_cancelled_as_one(open_queue: Opener, tmp_path: Path) -> None:
    queue = open_queue()
    songs = [{"name": name, "gate": str(tmp_path / "never")} for name in "abc"]
    jobs = queue.submit_many("work", songs, client="me")
    (group,) = {job.group for job in jobs}
    assert group is not None
    assert [job.settings["name"] for job in queue.list(group=group)] == ["a", "b", "c"]
    queue.cancel_group(group)
    assert {finished(queue, job).state for job in jobs} == {JobState.CANCELLED}


def test_a_playlist_with_one_bad_song_is_not_queued_at_all(open_queue: Opener) -> None:
    queue = open_queue()
    with pytest.raises(SettingError, match="no such thing"):
        queue.submit_many("work", [{"name": "good"}, {"name": "absent"}])
    assert queue.list() == []


# --------------------------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("sing", {}, "no kind of job 'sing'; choose from work,"),
        ("work", {"nam": "x"}, "no setting nam; did you mean 'name'?"),
        ("work", {"level": "high"}, "level is 'high', but must be a whole number"),
        ("work", {"level": 11}, "level is 11, but must be from 0 to 10"),
        ("work", [], "must be an object"),
        ("work", {"name": "absent"}, "There is no such thing"),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_door(
    open_queue: Opener, kind: str, settings: dict[str, object], told: str
) -> None:
    queue = open_queue()
    with pytest.raises(SettingError, match=told.replace("?", r"\?")):
        queue.submit(kind, settings)
    assert queue.list() == []


def test_a_job_run_again_has_its_settings_with_the_changes(open_queue: Opener) -> None:
    queue = open_queue()
    first = finished(queue, queue.submit("work", {"name": "x", "level": 3}, client="me"))
    again = finished(queue, queue.rerun(first.id, {"level": 4}))
    assert (again.state, again.rerun_of, again.client) == (JobState.DONE, first.id, "me")
    assert again.settings == {**first.settings, "level": 4}
    with pytest.raises(SettingError, match="level"):
        queue.rerun(first.id, {"level": 99})


def test_a_job_that_is_not_there_is_told(open_queue: Opener) -> None:
    queue = open_queue()
    for ask in (queue.get, queue.cancel, queue.rerun):
        with pytest.raises(JobError, match="no job 7"):
            ask(7)


def test_only_finished_jobs_are_cleared(open_queue: Opener, tmp_path: Path) -> None:
    queue = open_queue()
    done = finished(queue, queue.submit("work", {}, client="me"))
    running = queue.submit("work", {"gate": str(tmp_path / "never")})
    with pytest.raises(JobError, match=f"Job {running.id} is not finished"):
        queue.clear([running.id])
    assert queue.clear(client="other") == []
    assert queue.clear() == [done.id]
    assert [job.id for job in queue.list()] == [running.id]
    assert done.result is not None
    assert done.result.files[0].path.is_file()


# -------------------------------------------------------------------------------- slots and memory


def test_slots_work_at_the_same_time_each_on_its_device(open_queue: Opener, tmp_path: Path) -> None:
    queue, gate = open_queue(slots=("cuda:0", "cuda:1")), tmp_path / "gate"
    jobs = [queue.submit("work", {"gate": str(gate)}) for _ in range(2)]
    eventually(lambda: all(queue.get(job.id).step == "wait" for job in jobs))
    gate.touch()
    results = [finished(queue, job).result for job in jobs]
    assert {result.facts["device"] for result in results if result} == {"cuda:0", "cuda:1"}


def test_a_job_that_names_the_device_of_a_slot_waits_for_it(open_queue: Opener, tmp_path: Path) -> None:
    queue, gate = open_queue(slots=("cuda:0", "cuda:1")), tmp_path / "gate"
    settings = {"gate": str(gate), "optimization": {"device": "cuda:1"}}
    first, second = (queue.submit("work", settings) for _ in range(2))
    eventually(lambda: queue.get(first.id).step == "wait")
    other = queue.submit("work", {})
    assert finished(queue, other).state is JobState.DONE
    assert queue.get(second.id).state is JobState.QUEUED
    gate.touch()
    results = [finished(queue, job).result for job in (first, second)]
    assert [result.facts["device"] for result in results if result] == ["cuda:1", "cuda:1"]


def test_an_errand_does_not_wait_for_the_device(open_queue: Opener, tmp_path: Path) -> None:
    queue, gate = open_queue(), tmp_path / "gate"
    running = queue.submit("work", {"gate": str(gate)}, client="me")
    waiting = queue.submit("work", {"name": "waiting"}, client="me")
    assert finished(queue, queue.submit("errand", {"name": "errand"}, client="me")).state is JobState.DONE
    assert queue.get(waiting.id).state is JobState.QUEUED
    gate.touch()
    assert [finished(queue, job).state for job in (running, waiting)] == [JobState.DONE] * 2


def test_memory_is_released_when_there_is_nothing_to_do(open_queue: Opener) -> None:
    queue = open_queue(idle_seconds=1)
    finished(queue, queue.submit("work", {}))
    eventually(lambda: queue.worker_pids == [])
    assert finished(queue, queue.submit("work", {})).state is JobState.DONE


def test_closing_interrupts_what_runs_and_keeps_what_waits(open_queue: Opener, tmp_path: Path) -> None:
    gate, diary = tmp_path / "gate", tmp_path / "diary"
    queue = open_queue()
    running = queue.submit("ignore", {"diary": str(diary)})
    waiting = queue.submit("work", {"name": "waiting", "gate": str(gate)})
    eventually(lambda: diary.exists() and len(diary.read_text().split()) == 2)
    queue.close()
    assert not any(is_alive(int(pid)) for pid in diary.read_text().split())
    with pytest.raises(JobError, match="closing"):
        queue.submit("work", {})
    gate.touch()
    later = open_queue()
    assert later.get(running.id).state is JobState.INTERRUPTED
    assert finished(later, waiting).state is JobState.DONE

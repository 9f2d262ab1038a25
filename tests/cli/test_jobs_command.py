"""``urvc jobs`` beside a server and without one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.fake_kinds import TABLE
from jobs.patience import eventually, finished
from ultimate_rvc.cli import main
from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.new import new_job
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.jobs.store import JobStore
from ultimate_rvc.paths import jobs_dir, packaged_voice, voice_models_dir
from ultimate_rvc.progress import StepTime
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.result import ResultFile, WorkResult

STARTER = packaged_voice("starter")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``urvc jobs``."""
    with pytest.raises(SystemExit) as exit_:
        main.run(["jobs", *words])
    shown = capsys.readouterr()
    return int(exit_.value.code or 0), shown.out, shown.err


@pytest.fixture
def store() -> Iterator[JobStore]:
    """The list of jobs of a server that is not there."""
    store = JobStore(jobs_dir())
    yield store
    store.close()


def add(store: JobStore, **changes: object) -> Job:
    job = new_job(KINDS, "import-voice", {"source": str(STARTER), "name": "mine"})
    (job,) = store.add([replace(job, **changes)])  # type: ignore[arg-type]
    return job


def test_an_empty_list_says_what_will_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list") == (0, "No jobs: those of the page appear here.\n", "")


def test_jobs_are_listed_by_state(capsys: pytest.CaptureFixture[str], store: JobStore) -> None:
    add(store)
    failed = add(store, state=JobState.FAILED, error="No.")
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    assert [job["state"] for job in json.loads(out)] == ["queued", "failed"]
    _, out, _ = run(capsys, "list", "--state", "failed", "--json")
    assert [job["id"] for job in json.loads(out)] == [failed.id]
    _, out, _ = run(capsys, "list")
    assert "import-voice" in out
    assert "mine" in out


def test_a_job_whose_server_died_is_interrupted(capsys: pytest.CaptureFixture[str], store: JobStore) -> None:
    job = add(store, state=JobState.RUNNING, started=time.time())
    _, out, _ = run(capsys, "show", str(job.id), "--json")
    assert json.loads(out)["state"] == "interrupted"


def test_a_job_is_shown_with_files_times_settings_and_details(
    capsys: pytest.CaptureFixture[str], store: JobStore, tmp_path: Path
) -> None:
    result = WorkResult(
        files=(ResultFile("cover", tmp_path / "song.mp3"),),
        steps=(StepTime("mix", 1.25), StepTime("separate", 0.01, cached=True)),
        warnings=("It is loud.",),
        device="cpu",
        precision="float32",
    )
    job = add(store, state=JobState.DONE, result=result, started=10.0, finished=12.5, details="Traceback: no")
    code, out, _ = run(capsys, "show", str(job.id))
    assert code == 0
    for told in ("done after 2.5 s", f"cover: {tmp_path}/song.mp3", "mix: 1.2 s", "separate: cached"):
        assert told in out
    for told in ("warning: It is loud.", "on cpu in float32", '"name": "mine"', "Traceback: no"):
        assert told in out


def test_a_waiting_job_is_cancelled_without_a_server(
    capsys: pytest.CaptureFixture[str], store: JobStore
) -> None:
    job = add(store)
    assert run(capsys, "cancel", str(job.id)) == (0, f"job {job.id} is cancelled\n", "")
    code, _, err = run(capsys, "cancel", str(job.id))
    assert code == 2
    assert f"Job {job.id} is cancelled already" in err


def test_a_running_job_is_cancelled_by_its_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with JobQueue(kinds=TABLE) as queue:
        job = queue.submit("work", {"gate": str(tmp_path / "never")})
        eventually(lambda: queue.get(job.id).step == "wait")
        assert run(capsys, "cancel", str(job.id)) == (0, f"job {job.id} is cancelled\n", "")


def test_a_job_is_run_again_here_when_there_is_no_server(
    capsys: pytest.CaptureFixture[str], store: JobStore
) -> None:
    waiting = add(store)
    earlier = add(store, state=JobState.INTERRUPTED)
    code, out, _ = run(capsys, "rerun", str(earlier.id), "--set", "name=again", "--json")
    assert code == 0
    job = json.loads(out)
    assert (job["state"], job["settings"]["name"], job["rerun_of"]) == ("done", "again", earlier.id)
    assert (voice_models_dir() / "again" / "again.pth").is_file()
    kept = store.get(waiting.id)
    assert kept is not None
    assert kept.state is JobState.QUEUED


def test_a_job_that_fails_here_gives_its_sentence(
    capsys: pytest.CaptureFixture[str], store: JobStore
) -> None:
    earlier = add(store, state=JobState.DONE)
    code, out, err = run(capsys, "rerun", str(earlier.id), "--set", "name=a:b")
    assert code == 1
    assert "failed" in out
    assert "Error: " in err


def test_a_job_joins_the_queue_of_a_server(capsys: pytest.CaptureFixture[str], store: JobStore) -> None:
    earlier = add(store, state=JobState.DONE)
    with JobQueue() as queue:
        code, out, _ = run(capsys, "rerun", str(earlier.id))
        assert code == 0
        number = int(out.removeprefix("queued as job "))
        eventually(lambda: queue.get(number).state is not JobState.QUEUED)
        assert finished(queue, queue.get(number)).state is JobState.DONE


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "7"), "There is no job 7"),
        (("rerun", "1", "--set", "name"), "must be KEY=VALUE"),
        (("rerun", "1", "--set", "nam=x"), "did you mean 'name'?"),
        (("clear", "1"), "Job 1 is not finished"),
    ],
)
def test_wrong_use_is_one_sentence(
    capsys: pytest.CaptureFixture[str], store: JobStore, words: tuple[str, ...], told: str
) -> None:
    add(store)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1


def test_finished_jobs_are_cleared(capsys: pytest.CaptureFixture[str], store: JobStore) -> None:
    waiting = add(store)
    done, failed = add(store, state=JobState.DONE), add(store, state=JobState.FAILED)
    assert json.loads(run(capsys, "clear", "--state", "failed", "--json")[1]) == {"removed": [failed.id]}
    assert json.loads(run(capsys, "clear", "--json")[1]) == {"removed": [done.id]}
    assert [job.id for job in store.find()] == [waiting.id]

"""``urvc jobs``: what the page's server has done, does and will do; beside it, or without one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import progress_bar, show_json, show_line, show_table, show_warning
from ultimate_rvc.errors import CancelledError, SettingError, UltimateRVCError
from ultimate_rvc.jobs.model import Job, JobState

if TYPE_CHECKING:
    from ultimate_rvc.jobs.store import JobStore

CANCEL_SECONDS = 10.0  # a server needs 2; more where a kind takes its time to end
POLL_SECONDS = 0.1
SHOWN_LETTERS = 60

JobNumber = Annotated[int, typer.Argument(metavar="JOB", help="Its number in the list.", min=1)]

app = typer.Typer(no_args_is_help=True, help="List, show, cancel, repeat and clear jobs of the page.")


@contextmanager
def _open_store() -> Iterator[tuple[JobStore, bool]]:
    """The list of jobs, and whether a server works on it; without one nothing is running."""
    from ultimate_rvc.jobs.lock import ServerLock
    from ultimate_rvc.jobs.store import JobStore
    from ultimate_rvc.paths import jobs_dir

    store, lock = JobStore(jobs_dir()), ServerLock(jobs_dir())
    try:
        if is_free := lock.try_acquire():
            store.interrupt_running()
            lock.release()
        yield store, not is_free
    finally:
        store.close()


@app.command("list")
def list_command(
    state: Annotated[list[JobState], typer.Option(help="Only jobs in this state; may be repeated.")] = [],  # noqa: B006
    limit: Annotated[int, typer.Option(help="The last so many.", min=1)] = 50,
    as_json: options.AsJson = False,
) -> None:
    """List the jobs, oldest first."""
    with _open_store() as (store, _):
        jobs = store.find(states=state, limit=limit)
    if as_json:
        show_json([job.as_dict() for job in jobs])
    elif jobs:
        show_table(["job", "kind", "state", "made", "what"], [_row(job) for job in jobs])
    else:
        show_line("No jobs: those of the page appear here.")


@app.command()
def show(number: JobNumber, as_json: options.AsJson = False) -> None:
    """Show a job: how it went, its files, its settings, and the details of a failure."""
    with _open_store() as (store, _):
        job = _find(store, number)
    if as_json:
        show_json(job.as_dict())
        return
    for line in _lines(job):
        show_line(line)


@app.command()
def cancel(number: JobNumber) -> None:
    """Cancel a job that waits or runs."""
    with _open_store() as (store, has_server):
        job = _find(store, number)
        if job.state.is_finished:
            raise SettingError(f"Job {number} is {job.state} already.")
        store.want_cancel(number)
        if has_server:
            job = _wait_for_end(store, number)
        else:  # the next server would do it; doing it now is what was asked for
            store.save(replace(job, state=JobState.CANCELLED, finished=time.time(), cancel_wanted=True))
            job = _find(store, number)
    show_line(f"job {number} is {job.state}")


@app.command()
def rerun(
    number: JobNumber,
    changes: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. cover.inst_gain=-3."),
    ] = [],  # noqa: B006
    as_json: options.AsJson = False,
) -> None:
    """Do a job again, with its settings or some of them changed.

    While the page's server runs, the job joins its queue; otherwise it is done here and now.
    """
    from ultimate_rvc.jobs.new import repeated_job
    from ultimate_rvc.work.kinds import KINDS

    chosen = _nested(changes)
    with _open_store() as (store, has_server):
        earlier = _find(store, number)
        if has_server:
            (job,) = store.add([repeated_job(KINDS, earlier, chosen)])
            show_json(job.as_dict()) if as_json else show_line(f"queued as job {job.id}")
            return
    job = _do_here(earlier, chosen)
    if as_json:
        show_json(job.as_dict())
    else:
        for line in _lines(job):
            show_line(line)
    if job.state is JobState.CANCELLED:
        raise CancelledError("The job was cancelled.")
    if job.state is not JobState.DONE:
        raise UltimateRVCError(job.error or f"Job {job.id} is {job.state}.")


@app.command()
def clear(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[JOB]...", help="Left out: all.")] = None,
    state: Annotated[list[JobState], typer.Option(help="Only jobs that ended so; may be repeated.")] = [],  # noqa: B006
    as_json: options.AsJson = False,
) -> None:
    """Forget finished jobs; the files they made stay."""
    with _open_store() as (store, _):
        for number in numbers or ():
            if not _find(store, number).state.is_finished:
                raise SettingError(f"Job {number} is not finished; cancel it first.")
        states = [each for each in state or JobState if each.is_finished]
        finished = store.find(states=states) if states else []
        removed = [job.id for job in finished if not numbers or job.id in numbers]
        store.delete(removed)
    show_json({"removed": removed}) if as_json else show_line(f"cleared {len(removed)} jobs")


# ------------------------------------------------------------------------------------ changing


def _find(store: JobStore, number: int) -> Job:
    if job := store.get(number):
        return job
    raise SettingError(f"There is no job {number}; 'urvc jobs list' shows them.")


def _wait_for_end(store: JobStore, number: int) -> Job:
    end = time.monotonic() + CANCEL_SECONDS
    while not (job := _find(store, number)).state.is_finished:
        if time.monotonic() > end:
            show_warning("The server has not ended the job yet; it will.")
            break
        time.sleep(POLL_SECONDS)
    return job


def _nested(changes: Sequence[str]) -> dict[str, Any]:
    """``["cover.inst_gain=-3"]`` as ``{"cover": {"inst_gain": -3}}``; what is no JSON is a text."""
    result: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not key or not equals:
            raise SettingError(f"--set is {change!r}, but must be KEY=VALUE, such as cover.inst_gain=-3.")
        inner = result
        *path, last = key.split(".")
        for name in path:
            inner = inner.setdefault(name, {})
        try:
            inner[last] = json.loads(text)
        except ValueError:
            inner[last] = text
    return result


def _do_here(earlier: Job, changes: dict[str, Any]) -> Job:
    from ultimate_rvc.jobs.queue import JobQueue

    with JobQueue(resume=False) as queue, progress_bar() as bar, queue.subscribe() as changed:
        job = queue.rerun(earlier.id, changes)
        try:
            while not job.state.is_finished:
                job = next((each for each in changed.wait() if each.id == job.id), job)
                if job.state is JobState.RUNNING and job.step:
                    bar.report(job.step, job.step_fraction, job.text)
        except KeyboardInterrupt:
            queue.cancel(job.id)
            job = queue.wait(job.id)
    return job


# ------------------------------------------------------------------------------------- showing


def _row(job: Job) -> list[str]:
    state = f"{job.state} {job.fraction:.0%}" if job.state is JobState.RUNNING else str(job.state)
    what = job.title if len(job.title) <= SHOWN_LETTERS else f"{job.title[:SHOWN_LETTERS]}..."
    return [str(job.id), job.kind, state, f"{datetime.fromtimestamp(job.created):%Y-%m-%d %H:%M}", what]


def _lines(job: Job) -> Iterator[str]:
    took = "" if job.elapsed_seconds is None else f" after {job.elapsed_seconds:.1f} s"
    yield f"job {job.id}: {job.kind}, {job.title}: {job.state}{took}"
    if job.state is JobState.RUNNING:
        yield f"at {job.fraction:.0%}, {job.step} {job.text}".rstrip()
    if job.error:
        yield f"error: {job.error}"
    if result := job.result:
        yield from (f"{file.role}: {file.path}" for file in result.files)
        yield from (
            f"{step.name}: {'cached' if step.cached else f'{step.seconds:.1f} s'}" for step in result.steps
        )
        yield from (f"warning: {warning}" for warning in result.warnings)
        if result.device:
            yield f"on {result.device} in {result.precision}"
    yield f"settings: {json.dumps(job.settings, ensure_ascii=False)}"
    if job.details:
        yield job.details.rstrip()

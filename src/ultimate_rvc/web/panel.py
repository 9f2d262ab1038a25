"""A panel that follows one job: its progress, a button that cancels it, and its result when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.events import Dependency

from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET, Follower

Updates = Sequence[Any]


def of_kind(kind: str) -> Callable[[Job], bool]:
    """For :class:`JobPanel`: all jobs of a kind."""
    return lambda job: job.kind == kind


class JobPanel:
    """Follows the job whose id is in ``job_id``.

    Parameters
    ----------
    belongs : callable
        Whether a job is one of this panel's: after a reload the browser's latest is shown again.
    empty : str
        What stands there before the first.
    later : bool
        Laid out where :meth:`place` is called instead of here.
    """

    def __init__(
        self, desk: Desk, belongs: Callable[[Job], bool], empty: str, *, later: bool = False
    ) -> None:
        self._desk, self._belongs, self._empty = desk, belongs, empty
        self.job_id: gr.State = gr.State(None)
        self.shown: gr.State = gr.State(None)
        """Changes when a job is first seen, and when it has ended."""
        self._status = gr.HTML(
            display.status(None, desk.texts, empty), padding=False, elem_classes="job-panel", render=not later
        )
        self._cancel = gr.Button(
            desk.texts("job.cancel"), visible=False, size="sm", variant="stop", elem_classes="cancel",
            render=not later,
        )  # fmt: skip
        self._outputs: list[Any] = []
        self._show: Callable[[Job | None], Updates] = lambda _: ()

    def place(self) -> None:
        self._status.render()
        self._cancel.render()

    def shows(self, outputs: Sequence[Any], show: Callable[[Job | None], Updates]) -> None:
        """Let ``show`` say what the components ``outputs`` become for a job, or for None.

        It is called when a job is first seen and when it has ended, so that no player loses its place.
        """
        self._outputs, self._show = list(outputs), show

    def connect(self) -> None:
        """Follow: after every change of the job, of the list, and after a reload."""
        held, places = self._held_and_places()
        self._desk.job_followers.append(Follower(self._refresh, held, places))
        self._cancel.click(
            self._desk.told(self._cancel_job),
            [self.job_id],
            None,
            concurrency_limit=None,
            api_visibility="private",
        )

    def opens(self, event: Dependency) -> None:
        """Show at once what ``event`` has put into ``job_id``."""
        # No change event of the state: a browser fires it for every panel whenever the page is loaded.
        event.then(self._refresh, *self._held_and_places(), **QUIET)

    def starts(self, button: ActionButton, start: Callable[..., int], inputs: Sequence[Any]) -> Dependency:
        """Let ``button`` start the job whose id ``start`` returns, and follow that job."""
        started = button.runs(start, inputs, self.job_id)
        self.opens(started)
        return started

    def _held_and_places(self) -> tuple[list[Any], list[Any]]:
        held = [self.job_id, self.shown]
        return held, [self._status, self._cancel, self.shown, *self._outputs]

    def latest(self, client: str) -> int | None:
        """The job that a browser sees again after a reload."""
        jobs = self._desk.queue.list(client=client)
        return next((job.id for job in reversed(jobs) if self._belongs(job)), None)

    def _cancel_job(self, job_id: int | None) -> None:
        job = self.find(job_id)
        if job is not None and job.group is not None:
            self._desk.queue.cancel_group(job.group)
        elif job is not None:
            self._desk.queue.cancel(job.id)

    def _playlist(self, job: Job | None) -> str:
        """How far the playlist is that the job belongs to."""
        if job is None or job.group is None:
            return ""
        jobs = self._desk.queue.list(group=job.group)
        if len(jobs) == 1:
            return ""
        finished = sum(each.state.is_finished for each in jobs)
        line = self._desk.texts("job.playlist", finished=finished, count=len(jobs))
        return f'<p class="hint">{escape(line)}</p>'

    def find(self, job_id: int | None) -> Job | None:
        """The job to show: of a playlist, the one that is at work."""
        if job_id is None:
            return None
        try:
            job = self._desk.queue.get(job_id)
        except JobError:  # cleared meanwhile: it is not shown any more
            return None
        if job.group is None:
            return job
        playlist = self._desk.queue.list(group=job.group)
        at_work = [each for each in playlist if not each.state.is_finished]
        return at_work[0] if at_work else playlist[-1]

    def _refresh(self, job_id: int | None, shown: object) -> list[Any]:
        job = self.find(job_id)
        now = None if job is None else [job.id, job.state.is_finished]
        texts = self._desk.texts
        status = display.status(job, texts, self._empty) + self._playlist(job)
        cancel = gr.Button(visible=job is not None and not job.state.is_finished)
        if now == shown:
            return [status, cancel, gr.skip(), *(gr.skip() for _ in self._outputs)]
        return [status, cancel, now, *self._show(job)]

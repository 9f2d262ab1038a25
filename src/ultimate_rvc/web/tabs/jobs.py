"""Jobs: what was asked for, where it stands, and once more with changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import KINDS_WITH_FILES, files_there
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.job_cards import CARD_CLICKS, cards, sounds_of
from ultimate_rvc.web.local_files import refuse_local_files
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.players import player_place, player_update

SHOWN_JOBS = 200


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            listed = gr.HTML(cards([], None, texts), js_on_load=CARD_CLICKS, padding=False)
            clear = ActionButton(desk, texts("jobs.clear"), size="sm")
        with gr.Column(scale=6, min_width=320):
            panel = JobPanel(desk, lambda _: False, texts("jobs.none_open"))
            heard = player_place()
            files = gr.File(
                label=texts("jobs.files.label"), file_count="multiple", interactive=False, visible=False
            )
            with gr.Accordion(texts("job.more"), open=False, visible=False) as more:
                told = gr.HTML(padding=False)
            with gr.Accordion(texts("jobs.again.title"), open=False):
                changes = gr.Code(
                    language="json", label=texts("jobs.settings.label"), interactive=True, max_lines=24
                )
                gr.Markdown(texts("jobs.settings.info"), elem_classes="hint")
                again = ActionButton(desk, texts("jobs.again.changed"), variant="primary")
    panel.shows([heard, files, more, told, changes], lambda job: _shown(desk, job))
    panel.connect()

    seen = gr.State(None)

    def look(opened: int | None, client: str, seen: object) -> list[Any]:
        """The cards, unless nothing of them changed: they do not show the progress that a job makes all the time."""
        jobs = desk.queue.list(client=desk.seen_by(client), limit=SHOWN_JOBS)[::-1]
        now = [opened, *([job.id, str(job.state), job.cancel_wanted] for job in jobs)]
        return [gr.skip(), gr.skip()] if now == seen else [now, cards(jobs, opened, texts)]

    def choose(client: str, event: gr.EventData) -> list[Any]:
        asked = event._data or {}
        job = _own(desk, asked.get("job"), client)
        if asked.get("again"):
            job = desk.queue.rerun(job.id, {}, client=client)
        return [job.id, *look(job.id, client, None)]

    opens = listed.click(desk.told(choose), desk.client, [panel.job_id, seen, listed], **QUIET)
    desk.job_followers.append(Follower(look, [panel.job_id, desk.client, seen], [seen, listed]))
    panel.opens(opens)
    clear.runs(lambda client: desk.queue.clear(client=desk.seen_by(client)), desk.client, None)
    panel.starts(
        again,
        lambda job_id, text, client: _again(desk, job_id, text, client),
        [panel.job_id, changes, desk.client],
    )
    return []


def _own(desk: Desk, job_id: object, client: str) -> Job:
    """
    Raises
    ------
    JobError
        There is no such job, or it is somebody else's.
    """
    job = desk.queue.get(job_id) if isinstance(job_id, int) else None
    if job is None or desk.seen_by(client) not in (None, job.client):
        raise JobError(desk.texts("error.no_job"))
    return job


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    is_served = job is not None and job.kind in KINDS_WITH_FILES
    paths = [str(file.path) for file in files_there(job)] if is_served else []
    told = display.told(job, desk.texts)
    settings = json.dumps(_readable(job.settings), indent=2, ensure_ascii=False) if job is not None else ""
    return [
        player_update(sounds_of(job)[:1], desk.texts),
        gr.File(value=paths or None, visible=bool(paths)),
        gr.Accordion(visible=bool(told)),
        told,
        settings,
    ]


def _readable(settings: Any) -> Any:
    """Settings with uploads by their names: what the server calls them is nobody's business."""
    if isinstance(settings, Mapping):
        return {name: _readable(value) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_readable(value) for value in settings]
    return display.without_uploads(settings) if isinstance(settings, str) else settings


def _again(desk: Desk, job_id: int | None, text: str, client: str) -> int:
    """A new job with the settings as they were edited; only what differs counts as a change."""
    texts = desk.texts
    earlier = _own(desk, job_id, client)
    try:
        edited = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise problem(texts, texts("error.no_json", reason=str(error))) from error
    if not isinstance(edited, dict):
        raise problem(texts, texts("error.no_json", reason="{ }"))
    shown = _readable(earlier.settings)
    changed = {name: value for name, value in edited.items() if shown.get(name) != value}
    refuse_local_files(desk, changed)
    return desk.queue.rerun(earlier.id, changed, client=client).id

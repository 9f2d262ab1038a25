"""Jobs: what was asked for, where it stands, and once more with changes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import gradio as gr

from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.endpoints_jobs import KINDS_WITH_FILES
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.local_files import refuse_local_files
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.players import files_there, player

SHOWN_JOBS = 200


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            empty = gr.Markdown(texts("jobs.empty"), elem_classes="hint")
            choice = gr.Radio([], **texts.labelled("jobs.choice"), elem_classes="job-list")
            clear = ActionButton(desk, texts("jobs.clear"), size="sm")
        with gr.Column(scale=6, min_width=320):
            panel = JobPanel(desk, lambda _: False, texts("jobs.none_open"))
            heard = player(texts("jobs.player.label"))
            files = gr.File(
                label=texts("jobs.files.label"), file_count="multiple", interactive=False, visible=False
            )
            told = gr.HTML(visible=False, padding=False)
            with gr.Accordion(texts("jobs.again.title"), open=False):
                changes = gr.Code(
                    language="json", label=texts("jobs.settings.label"), interactive=True, max_lines=24
                )
                gr.Markdown(texts("jobs.settings.info"), elem_classes="hint")
                again = ActionButton(desk, texts("jobs.again.go"), variant="primary")
    panel.shows([heard, files, told, changes], lambda job: _shown(desk, job))
    panel.connect()

    def look(chosen: int | None, client: str) -> list[Any]:
        jobs = desk.queue.list(client=desk.seen_by(client), limit=SHOWN_JOBS)[::-1]
        known = [job.id for job in jobs]
        choices = [(_line(job, desk), job.id) for job in jobs]
        return [gr.Radio(choices, value=chosen if chosen in known else None), gr.Markdown(visible=not jobs)]

    desk.job_followers.append(Follower(look, [choice, desk.client], [choice, empty]))
    panel.opens(choice.change(desk.told(lambda job_id: job_id), choice, panel.job_id, **QUIET))
    clear.runs(lambda client: desk.queue.clear(client=desk.seen_by(client)), desk.client, None)
    again.runs(
        lambda job_id, text, client: _again(desk, job_id, text, client),
        [panel.job_id, changes, desk.client],
        choice,
    )
    return []


def _line(job: Job, desk: Desk) -> str:
    when = datetime.fromtimestamp(job.created).strftime("%m-%d %H:%M")
    state = desk.texts(f"state.{job.state}")
    kind = desk.texts.named("kind", job.kind)
    return f"#{job.id} · {when} · {kind} · {display.title(job, desk.texts)} · {state}"


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    # Voices and models lie in folders of their own, which the page does not serve.
    is_served = job is not None and job.kind in KINDS_WITH_FILES
    paths = [str(file.path) for file in files_there(job)] if is_served else []
    told = display.told(job, desk.texts)
    settings = json.dumps(job.settings, indent=2, ensure_ascii=False) if job is not None else ""
    return [
        gr.Audio(value=paths[0] if paths else None, visible=bool(paths)),
        gr.File(value=paths or None, visible=bool(paths)),
        gr.HTML(told, visible=bool(told)),
        settings,
    ]


def _again(desk: Desk, job_id: int | None, text: str, client: str) -> Any:
    """A new job with the settings as they were edited; only what differs counts as a change."""
    texts = desk.texts
    if job_id is None:
        raise problem(texts, texts("error.no_job"))
    earlier = desk.queue.get(job_id)
    if desk.seen_by(client) not in (None, earlier.client):
        raise JobError(texts("error.no_job"))
    try:
        edited = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise problem(texts, texts("error.no_json", reason=str(error))) from error
    if not isinstance(edited, dict):
        raise problem(texts, texts("error.no_json", reason="{ }"))
    changed = {name: value for name, value in edited.items() if earlier.settings.get(name) != value}
    refuse_local_files(desk, changed)
    job = desk.queue.rerun(job_id, changed, client=client)
    return gr.Radio([(_line(job, desk), job.id)], value=job.id)

"""Convert voice: files of speech or singing through one voice."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.players import files_there, player
from ultimate_rvc.web.tabs import advanced
from ultimate_rvc.web.voice_choice import checked_voice, follow_preset, voice_dropdown


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            files = gr.File(
                label=texts("convert.files.label"), file_count="multiple", file_types=["audio", "video"],
                type="filepath", height=170, elem_classes="drop",
            )  # fmt: skip
            voice = voice_dropdown(desk)
            form = advanced.convert_form(desk)
            go = ActionButton(desk, texts("convert.go"), variant="primary", size="lg")
        with gr.Column(scale=6, min_width=320):
            panel = JobPanel(desk, _is_ours, texts("convert.empty"))
            outputs = _result(desk)
    panel.shows(outputs, lambda job: _shown(desk, job))
    panel.connect()
    follow_preset(desk, voice, form)

    def start(
        uploads: list[str] | None, name: str | None, client: str, optimization: dict[str, Any], *values: Any
    ) -> int:
        if not uploads:
            raise problem(texts, texts("error.no_files"))
        settings = {
            "sources": uploads,
            "voice": checked_voice(desk, name),
            "optimization": optimization or {},
            **form.read(values),
        }
        return desk.submit("convert", settings, client).id

    panel.starts(go, start, [files, voice, desk.client, desk.optimization, *form.components])
    return [panel]


def _is_ours(job: Job) -> bool:
    """Conversions in a group are steps of a cover."""
    return job.kind == "convert" and job.group is None


def _result(desk: Desk) -> list[Any]:
    texts = desk.texts
    choice = gr.Dropdown([], **texts.labelled("convert.choice"), visible=False)
    heard = player(texts("convert.result.label"))
    told = gr.HTML(visible=False, padding=False)
    results = gr.File(
        label=texts("convert.results.label"), file_count="multiple", interactive=False, visible=False
    )

    choice.change(lambda path: gr.Audio(value=path), choice, heard, **QUIET)
    return [choice, heard, told, results]


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    paths = [file.path for file in files_there(job)]
    parts = (display.facts, display.converted, display.stage_times)
    told = "".join(part(job, desk.texts) for part in parts) if job is not None else ""
    first = str(paths[0]) if paths else None
    return [
        gr.Dropdown([(path.name, str(path)) for path in paths], value=first, visible=len(paths) > 1),
        gr.Audio(value=first, visible=bool(paths)),
        gr.HTML(told, visible=bool(told)),
        gr.File(value=[str(path) for path in paths] or None, visible=bool(paths)),
    ]

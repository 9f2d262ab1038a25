"""Convert voice: files of speech or singing through one voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import files_there
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton, action_bar
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.players import Sound, player_place, player_update
from ultimate_rvc.web.sources import is_uploaded
from ultimate_rvc.web.suggestion import Heard
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
            form = advanced.convert_form(desk, Heard(files, voice, whole_octaves=False))
        with gr.Column(scale=6, min_width=320):
            outputs = _result(desk)
    with action_bar():
        go = ActionButton(desk, texts("convert.go"), variant="primary", size="lg")
        panel = JobPanel(desk, _is_ours, "")
    panel.shows(outputs, lambda job: _shown(desk, job))
    panel.connect()
    _, choice, heard, *_ = outputs

    def hear(path: str | None, job_id: int | None) -> gr.HTML:
        return _compared(desk, panel.find(job_id), Path(path) if path else None)

    choice.input(desk.told(hear), [choice, panel.job_id], heard, **QUIET)
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
    empty = gr.HTML(display.nothing_yet(texts("convert.empty")), padding=False)
    choice = gr.Dropdown([], **texts.labelled("convert.choice"), visible=False)
    heard = player_place()
    results = gr.File(
        label=texts("convert.results.label"), file_count="multiple", interactive=False, visible=False
    )
    with gr.Accordion(texts("job.more"), open=False, visible=False) as more:
        told = gr.HTML(padding=False)
    return [empty, choice, heard, results, more, told]


def _compared(desk: Desk, job: Job | None, path: Path | None) -> gr.HTML:
    """A result beside its source, as far as that is a file which the page may give."""
    if path is None:
        return player_update([], desk.texts)
    pairs = job.result.facts.get("converted", ()) if job is not None and job.result is not None else ()
    source = next((Path(each["source"]) for each in pairs if Path(each["output"]) == path), None)
    sounds = [Sound(desk.texts("convert.made"), path)]
    if source is not None and is_uploaded(source) and source.is_file():
        sounds.append(Sound(desk.texts("player.original"), source))
    return player_update(sounds, desk.texts, path.stem)


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    paths = [file.path for file in files_there(job)]
    parts = (display.converted, display.facts, display.stage_times)
    told = "".join(part(job, desk.texts) for part in parts) if job is not None else ""
    first = paths[0] if paths else None
    return [
        gr.HTML(visible=first is None),
        gr.Dropdown(
            [(path.name, str(path)) for path in paths], value=first and str(first), visible=len(paths) > 1
        ),
        _compared(desk, job, first),
        gr.File(value=[str(path) for path in paths] if len(paths) > 1 else None, visible=len(paths) > 1),
        gr.Accordion(visible=bool(told)),
        told,
    ]

"""Song cover: a song, a voice, Generate."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.settings_files import COVER_PART
from ultimate_rvc.web import display, outlook
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.missing import MissingFooter
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.players import MOST_STEMS, cover_file, player, stems
from ultimate_rvc.web.sources import song_sources
from ultimate_rvc.web.tabs import advanced, melody, steps
from ultimate_rvc.web.voice_choice import checked_voice, follow_preset, voice_dropdown
from ultimate_rvc.work.settings_parts import file_part


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab: all at once, or step by step."""
    texts = desk.texts
    with gr.Tabs(elem_classes="ways"):
        with gr.Tab(texts("cover.at_once"), id="at-once", elem_id="way-at-once"):
            panel = _at_once(desk)
        with gr.Tab(texts("cover.steps"), id="steps", elem_id="way-steps"):
            panels = steps.build(desk)
    return [panel, *panels]


def _at_once(desk: Desk) -> JobPanel:
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            song = gr.File(
                label=texts("cover.song.label"),
                file_count="multiple",
                file_types=["audio", "video"],
                type="filepath",
                height=170,
                elem_classes="drop",
            )
            link = gr.Textbox("", **texts.labelled("cover.link"), placeholder="https://", max_lines=1)
            demo = gr.Button(texts("cover.demo"), size="sm", elem_classes="quiet-button")
            voice = voice_dropdown(desk)
            given = file_part(COVER_PART)
            folded = advanced.cover_form(desk, given)
        with gr.Column(scale=6, min_width=320):
            form = advanced.with_quality(folded, given)
            estimate = outlook.estimate_line(desk)
            generate = ActionButton(desk, texts("cover.generate"), variant="primary", size="lg")
            footer = MissingFooter(desk)
            panel = JobPanel(desk, of_kind("cover"), texts("cover.empty"))
            outputs = [*_result(desk), *melody.melody(desk, panel)]
    panel.shows(outputs, lambda job: [*_shown(desk, job), *melody.shown(job)])
    panel.connect()
    outlook.follow(desk, estimate, footer, panel, form, song, link, voice)
    demo.click(lambda: (None, "demo"), None, [song, link], concurrency_limit=None, api_visibility="private")
    desk.forms[COVER_PART] = form
    follow_preset(desk, voice, form.form)

    def start(
        uploads: list[str] | None, link: str, name: str | None, client: str, optimization: dict[str, Any],
        *values: Any,
    ) -> int:  # fmt: skip
        cover = form.read(values)
        rest = {"voice": checked_voice(desk, name), "cover": cover, "optimization": optimization or {}}
        songs = [{"source": source, **rest} for source in song_sources(desk, uploads, link)]
        if len(songs) > 1:
            cover["output_name"] = None  # one name cannot be that of several
            return desk.queue.submit_many("cover", songs, client=client)[0].id
        return desk.submit("cover", songs[0], client).id

    panel.starts(generate, start, [song, link, voice, desk.client, desk.optimization, *form.components])
    return panel


def _result(desk: Desk) -> list[Any]:
    texts = desk.texts
    cover = player(texts("cover.result.label"), elem_id="cover-result")
    told = gr.HTML(visible=False, padding=False)
    with gr.Accordion(texts("cover.stems.label"), open=False, visible=False) as folder:
        gr.Markdown(texts("cover.stems.info"), elem_classes="hint")
        players = [player() for _ in range(MOST_STEMS)]
    return [cover, told, folder, *players]


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    """What ``_result`` becomes for a finished job."""
    path = cover_file(job)
    found = stems(job, desk.texts)
    told = display.told(job, desk.texts)
    players = [
        gr.Audio(value=str(path), label=label, visible=True) for label, path in found
    ] + [gr.Audio(value=None, visible=False)] * (MOST_STEMS - len(found))  # fmt: skip
    return [
        gr.Audio(value=str(path) if path else None, visible=path is not None),
        gr.HTML(told, visible=bool(told)),
        gr.Accordion(visible=bool(found)),
        *players,
    ]

"""Voices: the library as cards, import, and what belongs to one voice."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.voices.library import known_voices, search_voices
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.sources import voice_source
from ultimate_rvc.web.tabs import voice_details, voice_more
from ultimate_rvc.web.voice_cards import CARD_CLICKS, cards
from ultimate_rvc.web.voice_choice import checked_voice


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    chosen = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            search = gr.Textbox("", **texts.labelled("voices.search"), max_lines=1)
            library = gr.HTML(js_on_load=CARD_CLICKS, padding=False)
            panel = _import(desk)
            voice_more.build(desk)
        with gr.Column(scale=6, min_width=320):
            voice_details.build(desk, chosen)

    def look(query: str) -> list[str]:
        return [cards(search_voices(query, packaged=True), texts, searched=bool(query.strip()))]

    def choose(event: gr.EventData) -> str:
        return checked_voice(desk, str((event._data or {}).get("voice", "")))

    search.change(desk.told(look), [search], [library], **QUIET)
    desk.library_followers.append(Follower(desk.told(look), [search], [library]))
    library.click(desk.told(choose), None, chosen, **QUIET)
    return [panel]


def _import(desk: Desk) -> JobPanel:
    texts = desk.texts
    with gr.Accordion(texts("voices.import.title"), open=True):
        files = gr.File(
            label=texts("voices.import.files"), file_count="multiple", type="filepath", height=150,
            file_types=[".pth", ".safetensors", ".zip", ".index"], elem_classes="drop",
        )  # fmt: skip
        link = gr.Textbox("", **texts.labelled("voices.import.link"), placeholder="https://", max_lines=1)
        published = gr.Dropdown(
            ["", *known_voices()], value="", **texts.labelled("voices.import.published"),
        )  # fmt: skip
        name = gr.Textbox("", **texts.labelled("voices.import.name"), max_lines=1, max_length=120)
        go = ActionButton(desk, texts("voices.import.go"), variant="primary")
        panel = JobPanel(desk, of_kind("import-voice"), "")
    ended = gr.State(None)
    panel.shows([ended, files, link, published, name], lambda job: _cleared(desk, job))
    panel.connect()

    def start(uploads: list[str] | None, link: str, published: str, name: str, client: str) -> int:
        settings = {**voice_source(desk, uploads, link.strip(), published), "name": name.strip() or None}
        settings["allow_local"] = desk.server.is_local
        return desk.submit("import-voice", settings, client).id

    panel.starts(go, start, [files, link, published, name, desk.client])
    return panel


def _cleared(desk: Desk, job: Job | None) -> list[Any]:
    """Once a voice is there, room for the next; an unsuccessful one can be tried again."""
    if job is None or job.result is None:
        return [gr.skip()] * 5
    desk.server.mark_edit()
    return [job.id, None, "", "", ""]

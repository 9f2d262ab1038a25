"""Voices: the library as cards, import, and what belongs to one voice."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.voices.library import known_voices, search_voices, voice_card
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.players import Sound, player_place, player_update
from ultimate_rvc.web.sources import voice_source
from ultimate_rvc.web.tabs import voice_details, voice_more
from ultimate_rvc.web.voice_cards import CARD_CLICKS, card, cards
from ultimate_rvc.web.voice_choice import checked_voice
from ultimate_rvc.web.voice_samples import keep_sample, sample_of, sample_request
from ultimate_rvc.work.foreign import voice_names

TABS_WITH_VOICES = ("cover", "speech")


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    chosen = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            search = gr.Textbox("", **texts.labelled("voices.search"), max_lines=1)
            library = gr.HTML(js_on_load=CARD_CLICKS, padding=False)
            imports = _import(desk, chosen)
            voice_more.build(desk)
        with gr.Column(scale=6, min_width=320):
            sample = JobPanel(desk, _is_sample, "")
            heard = player_place()
            shown = gr.HTML(_card(desk, None), js_on_load=CARD_CLICKS, padding=False)
            on_show = Follower(lambda name: [_card(desk, name)], [chosen], [shown])
            voice_details.build(desk, chosen, on_show)
    sample.shows([heard], lambda job: [_heard(desk, job)])
    sample.connect()

    def look(query: str) -> list[str]:
        return [cards(search_voices(query, packaged=True), texts, searched=bool(query.strip()))]

    fields = [desk.voice_fields[tab] for tab in TABS_WITH_VOICES]

    def choose(client: str, event: gr.EventData) -> list[Any]:
        """Show a voice, take it to another tab, or let it be heard."""
        asked = event._data or {}
        name, wish = checked_voice(desk, str(asked.get("voice", ""))), asked.get("wish")
        if wish == "sample":
            # In a group, so that it is known from the speeches of their own tab.
            job = desk.queue.submit_many("speech", [sample_request(name, texts)], client=client)[0]
            return [gr.skip(), *(gr.skip() for _ in fields), job.id]
        if wish in TABS_WITH_VOICES:
            return [gr.skip(), *(name if tab == wish else gr.skip() for tab in TABS_WITH_VOICES), gr.skip()]
        return [name, *(gr.skip() for _ in fields), gr.skip()]

    for place in (library, shown):
        outputs = [chosen, *fields, sample.job_id]
        sample.opens(place.click(desk.told(choose), desk.client, outputs, **QUIET))
    search.change(desk.told(look), [search], [library], **QUIET)
    desk.library_followers.append(Follower(desk.told(look), [search], [library]))
    desk.library_followers.append(on_show)
    return [imports, sample]


def _card(desk: Desk, name: str | None) -> str:
    if name is None:
        return display.nothing_yet(desk.texts("details.none"))
    try:
        return card(voice_card(name), desk.texts)
    except UltimateRVCError:
        return display.nothing_yet(desk.texts("error.voice_gone", name=name))


def _is_sample(job: Job) -> bool:
    return job.kind == "speech" and job.group is not None


def _heard(desk: Desk, job: Job | None) -> gr.HTML:
    """A sample that was just made, kept for the cards."""
    if job is None or not keep_sample(job):
        return player_update([], desk.texts)
    desk.server.mark_edit()
    name = str(job.settings["voice"])
    path = sample_of(voice_card(name))
    return player_update([Sound(name, path)] if path else [], desk.texts)


def _import(desk: Desk, chosen: gr.State) -> JobPanel:
    """Lay out the import; a voice that it brings becomes the chosen one."""
    texts = desk.texts
    with gr.Accordion(texts("voices.import.title"), open=False):
        files = gr.File(
            label=texts("voices.import.files"), file_count="multiple", type="filepath", height=150,
            file_types=[".pth", ".safetensors", ".onnx", ".zip", ".index"], elem_classes="drop",
        )  # fmt: skip
        link = gr.Textbox("", **texts.labelled("voices.import.link"), placeholder="https://", max_lines=1)
        published = gr.Dropdown(
            ["", *known_voices()], value="", **texts.labelled("voices.import.published"),
        )  # fmt: skip
        name = gr.Textbox("", **texts.labelled("voices.import.name"), max_lines=1, max_length=120)
        go = ActionButton(desk, texts("voices.import.go"), variant="primary")
        panel = JobPanel(desk, of_kind("import-voice"), "")
    panel.shows([chosen, files, link, published, name], lambda job: _cleared(desk, job))
    panel.connect()

    def start(uploads: list[str] | None, link: str, published: str, name: str, client: str) -> int:
        settings = {**voice_source(desk, uploads, link, published), "name": name.strip() or None}
        settings["allow_local"] = desk.server.is_local
        return desk.submit("import-voice", settings, client).id

    panel.starts(go, start, [files, link, published, name, desk.client])
    return panel


def _cleared(desk: Desk, job: Job | None) -> list[Any]:
    """Once a voice is there, it is chosen, and there is room for the next; an unsuccessful one can be tried again."""
    if job is None or job.result is None:
        return [gr.skip()] * 5
    desk.server.mark_edit()
    name = job.result.facts.get("voice")
    return [name if name in voice_names() else gr.skip(), None, "", "", ""]

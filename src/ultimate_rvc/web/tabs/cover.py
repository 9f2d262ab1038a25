"""Song cover: a song, a voice, Generate."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.covers.sources import DEMO_FILE
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.paths import output_dir, packaged_assets_dir
from ultimate_rvc.settings_files import COVER_PART
from ultimate_rvc.web import display, outlook
from ultimate_rvc.web.action_button import ActionButton, action_bar
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.endpoints_voices import EXPORTS
from ultimate_rvc.web.missing import MissingFooter
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.players import Sound, mixer, player, player_place, player_update
from ultimate_rvc.web.server import SAMPLE_COVER
from ultimate_rvc.web.sources import song_sources
from ultimate_rvc.web.stems import cover_file, original, stems, zip_stems
from ultimate_rvc.web.suggestion import Heard
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
    panel = JobPanel(desk, of_kind("cover"), "", later=True)
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
            demo = gr.Button(texts("cover.demo"), size="sm", elem_classes="quiet-button")
            link = gr.Textbox("", **texts.labelled("cover.link"), placeholder="https://", max_lines=1)
            voice = voice_dropdown(desk)
            given = file_part(COVER_PART)
            folded = advanced.cover_form(desk, given, Heard(song, voice, whole_octaves=True))
        with gr.Column(scale=6, min_width=320):
            outputs = [*_result(desk, panel), *melody.melody(desk, panel)]
            footer = MissingFooter(desk)
    with action_bar():
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280):
                form = advanced.with_quality(folded, given)
            with gr.Column(scale=1, min_width=180):
                generate = ActionButton(desk, texts("cover.generate"), variant="primary", size="lg")
        estimate = outlook.estimate_line(desk)
        panel.place()
    panel.shows(outputs, lambda job: [*_shown(desk, job), *melody.shown(job)])
    panel.connect()
    outlook.follow(desk, estimate, footer, panel, form, song, link, voice)
    demo.click(_demo, None, [song, link], concurrency_limit=None, api_visibility="private")
    desk.forms[COVER_PART] = form
    follow_preset(desk, voice, form.form)
    desk.voice_fields["cover"] = voice

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


def _demo() -> list[Any]:
    """The demo song as a file like any other, to be heard or taken out again."""
    return [[str(packaged_assets_dir() / DEMO_FILE)], ""]


def _result(desk: Desk, panel: JobPanel) -> list[Any]:
    """The cover first, then its stems, then what only some want to know."""
    texts = desk.texts
    cover = player_place(elem_id="cover-result")
    sample = gr.HTML(_sample(desk), padding=False)
    with gr.Accordion(texts("cover.stems.label"), open=False, visible=False) as folder:
        gr.Markdown(texts("cover.stems.info"), elem_classes="hint")
        board = gr.HTML(padding=False)
        zipped = ActionButton(desk, texts("cover.stems.zip"), size="sm")
        archive = gr.File(label=texts("cover.stems.zipped"), interactive=False, visible=False)
    with gr.Accordion(texts("job.more"), open=False, visible=False) as more:
        told = gr.HTML(padding=False)
    zipped.runs(lambda job_id: _zipped(desk, panel.find(job_id)), panel.job_id, archive)
    return [cover, sample, folder, board, archive, more, told]


def _sample(desk: Desk) -> str:
    """A cover to hear before one's own: the demo song by the starter voice."""
    texts, folder = desk.texts, packaged_assets_dir()
    sounds = [
        Sound(texts("cover.result.label"), folder / SAMPLE_COVER),
        Sound(texts("player.original"), folder / DEMO_FILE),
    ]
    return (
        f'<div class="sample"><p class="hint">{escape(texts("cover.sample"))}</p>'
        f"{player(sounds, texts, texts('cover.sample.title'))}</div>"
    )


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    """What ``_result`` becomes for a finished job."""
    path, song = cover_file(job), original(job)
    sounds = [Sound(desk.texts("cover.result.label"), path)] if path else []
    if sounds and song:
        sounds.append(Sound(desk.texts("player.original"), song))
    tracks = stems(job, desk.texts)
    told = display.told(job, desk.texts)
    return [
        player_update(sounds, desk.texts, path.stem if path else ""),
        gr.HTML(visible=not sounds),
        gr.Accordion(visible=bool(tracks), open=False),
        mixer(tracks, desk.texts),
        gr.File(value=None, visible=False),
        gr.Accordion(visible=bool(told)),
        told,
    ]


def _zipped(desk: Desk, job: Job | None) -> gr.File:
    """All stems in one file."""
    tracks = stems(job, desk.texts)
    if job is None or not tracks:
        raise problem(desk.texts, desk.texts("error.no_stems"))
    cover = cover_file(job)
    name = cover.stem if cover else f"job {job.id}"
    return gr.File(value=str(zip_stems(tracks, output_dir() / EXPORTS, name)), visible=True)

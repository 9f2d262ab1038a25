"""Speech: a text or document, who reads it, a voice, Speak."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import files_there
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.documents import SUFFIXES
from ultimate_rvc.speech.samples import sample_text
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton, action_bar
from ultimate_rvc.web.controls import Form
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.listening import LivePlayer
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.players import Sound, player_place, player_update
from ultimate_rvc.web.tabs import advanced
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.web.voice_choice import checked_voice, follow_preset, voice_dropdown

SHOWN_SPEECHES = 50


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            text = gr.Textbox("", lines=6, max_lines=16, **texts.labelled("speech.text"))
            document = gr.File(
                label=texts("speech.document.label"), file_types=list(SUFFIXES), type="filepath", height=110,
                elem_classes="drop",
            )  # fmt: skip
            voice = voice_dropdown(desk, "speech.voice")
            form = advanced.speech_form(desk)
        with gr.Column(scale=6, min_width=320):
            empty = gr.HTML(display.nothing_yet(texts("speech.empty")), padding=False)
            live = LivePlayer(desk)
            heard = player_place()
            pace = gr.HTML(padding=False)
            files = gr.File(
                label=texts("speech.files.label"), file_count="multiple", interactive=False, visible=False
            )
            history = gr.Dropdown([], visible=False, **texts.labelled("speech.history"))
            with gr.Accordion(texts("job.more"), open=False, visible=False) as more:
                told = gr.HTML(padding=False)
    with action_bar():
        with gr.Row():
            go = ActionButton(desk, texts("speech.go"), variant="primary", size="lg")
            sample = ActionButton(desk, texts("speech.sample"), size="lg")
        panel = JobPanel(desk, _is_ours, "")
    panel.shows([empty, heard, pace, files, more, told], lambda job: _shown(desk, job))
    panel.connect()
    follow_preset(desk, voice, form)
    desk.voice_fields["speech"] = voice
    _follow_engine(desk, form)
    _keep_history(desk, panel, history)

    def start(
        words: str,
        upload: str | None,
        name: str | None,
        client: str,
        optimization: dict[str, Any],
        *values: Any,
    ) -> int:
        if not upload and not words.strip():
            raise problem(texts, texts("error.no_text"))
        settings = {
            "text": None if upload else words,
            "document": upload,
            "voice": checked_voice(desk, name),
            "optimization": optimization or {},
            **form.read(values),
        }
        return desk.submit("speech", settings, client).id

    inputs = [text, document, voice, desk.client, desk.optimization, *form.components]
    live.follows(panel, panel.starts(go, start, inputs))

    def hear(client: str, *values: Any) -> int:
        return desk.submit("speech", _sample(form.read(values), texts), client).id

    panel.starts(sample, hear, [desk.client, *form.components])
    return [panel]


def _is_ours(job: Job) -> bool:
    """Speeches in a group are samples of voices."""
    return job.kind == "speech" and job.group is None


def _sample(asked: Mapping[str, Any], texts: Texts) -> dict[str, Any]:
    """Settings with which the chosen speaker says a sentence, as nobody else."""
    cast = choose(SpeechEngineName(asked["engine"]), asked.get("speaker"), asked.get("language"))
    who = {name: asked[name] for name in ("engine", "rate", "consent") if name in asked} | {
        "speaker": cast.speaker.name
    }
    name = texts("speech.sample.name", name=cast.speaker.name.replace(":", " "))
    return {"text": sample_text(cast.speaker.language), "voice": None, "output_name": name, **who}


def _follow_engine(desk: Desk, form: Form) -> None:
    """Let the list of speakers be that of the chosen engine."""
    (engine,) = form.only("engine").components
    (speaker,) = form.only("speaker").components

    def choose(chosen: str) -> gr.Dropdown:
        return gr.Dropdown(advanced.speaker_choices(desk, chosen), value="")

    engine.change(desk.told(choose), engine, speaker, **QUIET)


def _keep_history(desk: Desk, panel: JobPanel, history: gr.Dropdown) -> None:
    """List what was spoken before; choosing one shows it in the panel."""

    def look(chosen: int | None, client: str) -> list[Any]:
        jobs = desk.queue.list(client=desk.seen_by(client))[::-1]
        spoken = [job for job in jobs if _is_ours(job) and files_there(job)][:SHOWN_SPEECHES]
        known = [(display.title(job, desk.texts), job.id) for job in spoken]
        value = chosen if chosen in [job.id for job in spoken] else None
        return [gr.Dropdown(known, value=value, visible=len(known) > 1)]

    desk.job_followers.append(Follower(look, [history, desk.client], [history]))
    panel.opens(history.input(desk.told(lambda job_id: job_id), history, panel.job_id, **QUIET))


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    files = files_there(job)
    sounds = [Sound(file.path.stem, file.path) for file in files if file.role == "speech"][:1]
    told = display.told(job, desk.texts)
    return [
        gr.HTML(visible=not sounds),
        player_update(sounds, desk.texts),
        _pace(job, desk.texts),
        gr.File(value=[str(file.path) for file in files] or None, visible=len(files) > 1),
        gr.Accordion(visible=bool(told)),
        told,
    ]


def _pace(job: Job | None, texts: Texts) -> str:
    """How long the speech is, how long it took, and the real-time factor."""
    if job is None or job.result is None or "elapsed_seconds" not in job.result.facts:
        return ""
    length, took = job.result.facts["duration_seconds"], job.result.facts["elapsed_seconds"]
    line = texts("speech.pace", length=f"{length:.1f}", took=f"{took:.1f}", factor=f"{took / length:.2f}")
    return f'<p class="hint">{escape(line)}</p>'

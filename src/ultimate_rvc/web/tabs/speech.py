"""Speech: a text, a voice, Speak."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.web import display
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.panel import JobPanel, of_kind
from ultimate_rvc.web.players import files_there, player
from ultimate_rvc.web.tabs import advanced
from ultimate_rvc.web.voice_choice import checked_voice, follow_preset, voice_dropdown


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab."""
    texts = desk.texts
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            text = gr.Textbox("", lines=6, max_lines=16, **texts.labelled("speech.text"))
            voice = voice_dropdown(desk)
            form = advanced.speech_form(desk)
            go = ActionButton(desk, texts("speech.go"), variant="primary", size="lg")
        with gr.Column(scale=6, min_width=320):
            panel = JobPanel(desk, of_kind("speech"), texts("speech.empty"))
            heard = player(texts("speech.result.label"))
            told = gr.HTML(visible=False, padding=False)
    panel.shows([heard, told], lambda job: _shown(desk, job))
    panel.connect()
    follow_preset(desk, voice, form)

    def start(words: str, name: str | None, client: str, optimization: dict[str, Any], *values: Any) -> int:
        if not words.strip():
            raise problem(texts, texts("error.no_text"))
        settings = {
            "text": words,
            "voice": checked_voice(desk, name),
            "optimization": optimization or {},
            **form.read(values),
        }
        return desk.submit("speech", settings, client).id

    panel.starts(go, start, [text, voice, desk.client, desk.optimization, *form.components])
    return [panel]


def _shown(desk: Desk, job: Job | None) -> list[Any]:
    paths = [file.path for file in files_there(job)]
    told = display.told(job, desk.texts)
    return [
        gr.Audio(value=str(paths[0]) if paths else None, visible=bool(paths)),
        gr.HTML(told, visible=bool(told)),
    ]

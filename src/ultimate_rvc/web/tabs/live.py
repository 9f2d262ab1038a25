"""Live: a voice converted while it speaks, from the browser's microphone to its loudspeakers."""

from __future__ import annotations

import json
from html import escape

import gradio as gr

from ultimate_rvc.rvc.infer.live_settings import LiveSettings
from ultimate_rvc.settings import walk
from ultimate_rvc.web.controls import Control, lay_out
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.voice_choice import voice_dropdown

# These can be changed while it runs; the others say how it goes through time.
CHANGING = tuple(f"conversion.{name}" for name in ("n_semitones", "f0_methods", "index_rate", "protect_rate"))
FIXED = ("block_ms", "context_ms", "crossfade_ms", "ahead_ms")
STATES = ("stopped", "opening", "running", "denied", "no_microphone", "insecure")
FIGURES = ("delay", "load", "drop-outs")


def build(desk: Desk) -> list[JobPanel]:
    """Lay out the tab: all that happens then is between the browser and the socket (``live_door.py``)."""
    texts = desk.texts
    entries = dict(walk(LiveSettings))
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            voice = voice_dropdown(desk, "live.voice")
            changing = lay_out(desk, [Control(path, entries[path]) for path in CHANGING])
            with gr.Accordion(texts("live.time"), open=False):
                fixed = lay_out(desk, [Control(path, entries[path]) for path in FIXED])
            record = gr.Checkbox(False, **texts.labelled("live.record"))
        with gr.Column(scale=6, min_width=320):
            with gr.Row():
                start = gr.Button(texts("live.start"), variant="primary", size="lg")
                stop = gr.Button(texts("live.stop"), size="lg")
            gr.HTML(_board(desk), padding=False)
    paths = json.dumps([*CHANGING, *FIXED])
    start.click(
        None,
        [voice, record, *changing.components, *fixed.components],
        js=f"(voice, record, ...values) => {{ urvcLive.start(voice, record, {paths}, values); }}",
        **QUIET,
    )
    stop.click(None, js="() => { urvcLive.stop(); }", **QUIET)
    for path, component in zip(CHANGING, changing.components, strict=True):
        name = json.dumps(path.removeprefix("conversion."))
        component.change(None, component, js=f"(value) => {{ urvcLive.change({name}, value); }}", **QUIET)
    return []


def _board(desk: Desk) -> str:
    """What the script writes to, and the words that it writes."""
    texts = desk.texts
    words = escape(json.dumps({state: texts(f"live.state.{state}") for state in STATES}))
    figures = "".join(
        f'<div><dt>{escape(texts(f"live.figure.{name}"))}</dt><dd data-live="{name}">-</dd></div>'
        for name in FIGURES
    )
    return (
        f'<div class="live-board" data-state="stopped" data-words="{words}" data-language="{texts.language}">'
        f'<p role="status" data-live="state">{escape(texts("live.state.stopped"))}</p><dl>{figures}</dl>'
        f'<p data-live="recorded"></p><p class="hint">{escape(texts("live.hint"))}</p></div>'
    )

"""Blending two voices, and the trash."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.voices import library
from ultimate_rvc.web.action_button import ActionButton, ProblemLine
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import Follower
from ultimate_rvc.web.voice_choice import checked_voice, voice_dropdown


def build(desk: Desk) -> None:
    """Lay out both, folded."""
    with gr.Accordion(desk.texts("blend.title"), open=False):
        _blend(desk)
    with gr.Accordion(desk.texts("trash.title"), open=False):
        _trash(desk)


def _blend(desk: Desk) -> None:
    texts = desk.texts
    first = voice_dropdown(desk, "blend.first")
    second = voice_dropdown(desk, "blend.second")
    share = gr.Slider(0, 1, 0.5, step=0.01, **texts.labelled("blend.share"))
    name = gr.Textbox("", **texts.labelled("blend.name"), max_lines=1)
    go = ActionButton(desk, texts("blend.go"), variant="primary")

    def blend(first: str | None, second: str | None, share: float, name: str) -> str:
        if not name.strip():
            raise problem(texts, texts("error.no_name"))
        parts = checked_voice(desk, first), checked_voice(desk, second)
        made = library.blend_voices(*parts, name.strip(), float(share))
        desk.server.mark_edit()
        gr.Info(texts("blend.done", name=made.name))
        return ""

    go.runs(blend, [first, second, share, name], name)


def _trash(desk: Desk) -> None:
    texts = desk.texts
    entries = gr.Dropdown([], **texts.labelled("trash.entries"))
    name = gr.Textbox("", **texts.labelled("trash.name"), max_lines=1)
    line = ProblemLine(desk, later=True)
    with gr.Row():
        restore = ActionButton(desk, texts("trash.restore"), line, variant="primary")
        empty = ActionButton(desk, texts("trash.empty"), line, variant="stop")
    line.place()

    def look() -> list[Any]:
        known = [
            (
                f"{entry.name} ({texts.named('trash_kind', entry.kind)}, {entry.deleted:%Y-%m-%d %H:%M})",
                entry.id,
            )
            for entry in library.list_trash()
        ]
        return [gr.Dropdown(known, value=known[0][1] if known else None)]

    def bring_back(entry: str | None, name: str) -> str:
        if not entry:
            raise problem(texts, texts("error.no_trash"))
        voice = library.restore_voice(entry, name.strip() or None)
        desk.server.mark_edit()
        gr.Info(texts("trash.restored", name=escape(voice.name, quote=False)))
        return ""

    def throw_out() -> None:
        gone = library.empty_trash()
        desk.server.mark_edit()
        gr.Info(texts("trash.emptied", count=len(gone)))

    quiet: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
    desk.library_followers.append(Follower(look, [], [entries]))
    restore.runs(bring_back, [entries, name], name, **quiet)
    empty.runs(throw_out, None, None, **quiet)

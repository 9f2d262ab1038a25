"""The settings of a cover beyond song, voice and pitch, folded by theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ultimate_rvc.web import controls
from ultimate_rvc.web.controls import Control, Form
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.voice_choice import voice_names

KEPT, LEADS = "", "\0lead"


@dataclass(frozen=True)
class CoverSettingsForm:
    """All controls of the folded part."""

    form: Form
    effects: Any
    """A checkbox: whether there are effects at all."""
    backing: Any
    """Who sings the backing vocals."""


def cover_settings(desk: Desk) -> CoverSettingsForm:
    """Lay out every setting of a cover, folded."""
    texts = desk.texts
    with gr.Accordion(texts("advanced.title"), open=False):
        gr.Markdown(texts("advanced.info"), elem_classes="hint")
        forms = [_folded(desk, "conversion", controls.CONVERSION), _folded(desk, "stems", controls.STEMS)]
        with gr.Accordion(texts("advanced.mix"), open=False):
            backing = _backing(desk)
            forms.append(controls.lay_out(controls.MIX, texts))
        with gr.Accordion(texts("advanced.effects"), open=False):
            effects = gr.Checkbox(
                True, label=texts("setting.effects.label"), info=texts("setting.effects.info")
            )
            forms.append(controls.lay_out(controls.EFFECTS, texts))
        forms.append(_folded(desk, "output", controls.OUTPUT))
    return CoverSettingsForm(controls.joined(*forms), effects, backing)


def _folded(desk: Desk, name: str, group: tuple[Control, ...]) -> Form:
    with gr.Accordion(desk.texts(f"advanced.{name}"), open=False):
        return controls.lay_out(group, desk.texts)


def _backing(desk: Desk) -> gr.Dropdown:
    texts = desk.texts

    def choices() -> list[tuple[str, str]]:
        own = [(texts("setting.backing.kept"), KEPT), (texts("setting.backing.lead"), LEADS)]
        return own + [(name, name) for name in voice_names()]

    dropdown = gr.Dropdown(
        choices(), value=KEPT, label=texts("setting.backing.label"), info=texts("setting.backing.info")
    )

    def read_again(chosen: str) -> Any:
        known = choices()
        return gr.Dropdown(known, value=chosen if chosen in [value for _, value in known] else KEPT)

    desk.library.change(read_again, dropdown, dropdown, concurrency_limit=None, api_visibility="private")
    return dropdown

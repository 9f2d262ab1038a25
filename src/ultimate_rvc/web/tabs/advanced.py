"""The settings of a cover beyond song, voice and pitch, folded by theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ultimate_rvc.web import controls
from ultimate_rvc.web.controls import Control, Form
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import Follower
from ultimate_rvc.web.voice_choice import checked_voice, voice_names

KEPT, LEADS = "", "\0lead"


@dataclass(frozen=True)
class CoverForm:
    """All controls of a cover's settings, laid out."""

    desk: Desk
    form: Form
    effects: Any
    """A checkbox: whether there are effects at all."""
    backing: Any
    """Who sings the backing vocals."""

    @property
    def components(self) -> list[Any]:
        return [self.effects, self.backing, *self.form.components]

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """Fields of ``CoverSettings`` from the components' values."""
        effects, backing, *rest = values
        cover = self.form.read(rest)
        if not effects:
            cover["effects"] = None
        if backing != KEPT:
            voice = None if backing == LEADS else checked_voice(self.desk, backing)
            cover["backing"] = {"voice": voice}
        return cover

    def show(self, cover: Mapping[str, Any]) -> list[Any]:
        """The components' values for fields of ``CoverSettings``."""
        return [_has_effects(cover), _backing_of(cover), *self.form.show(cover)]


def _has_effects(cover: Mapping[str, Any]) -> bool:
    return cover.get("effects", {}) is not None


def _backing_of(cover: Mapping[str, Any]) -> str:
    backing = cover.get("backing")
    return KEPT if backing is None else backing.get("voice") or LEADS


def cover_form(desk: Desk, pitch: Form, given: Mapping[str, Any]) -> CoverForm:
    """Lay out every setting of a cover beyond its pitch, folded, with the values of ``given``."""
    texts = desk.texts
    with gr.Accordion(texts("advanced.title"), open=False):
        gr.Markdown(texts("advanced.info"), elem_classes="hint")
        forms = [
            pitch,
            _folded(desk, "conversion", controls.CONVERSION, given),
            _folded(desk, "stems", controls.STEMS, given),
        ]
        with gr.Accordion(texts("advanced.mix"), open=False):
            backing = _backing(desk, _backing_of(given))
            forms.append(controls.lay_out(controls.MIX, texts, given))
        with gr.Accordion(texts("advanced.effects"), open=False):
            effects = gr.Checkbox(
                _has_effects(given), label=texts("setting.effects.label"), info=texts("setting.effects.info")
            )
            forms.append(controls.lay_out(controls.EFFECTS, texts, given))
        forms.append(_folded(desk, "output", controls.OUTPUT, given))
    return CoverForm(desk, controls.joined(*forms), effects, backing)


def _folded(desk: Desk, name: str, group: tuple[Control, ...], given: Mapping[str, Any]) -> Form:
    with gr.Accordion(desk.texts(f"advanced.{name}"), open=False):
        return controls.lay_out(group, desk.texts, given)


def _backing(desk: Desk, chosen: str) -> gr.Dropdown:
    texts = desk.texts

    def choices() -> list[tuple[str, str]]:
        own = [(texts("setting.backing.kept"), KEPT), (texts("setting.backing.lead"), LEADS)]
        return own + [(name, name) for name in voice_names()]

    dropdown = gr.Dropdown(
        choices(), value=chosen, label=texts("setting.backing.label"), info=texts("setting.backing.info")
    )

    def read_again(chosen: str) -> list[Any]:
        known = choices()
        return [gr.Dropdown(known, value=chosen if chosen in [value for _, value in known] else KEPT)]

    desk.library_followers.append(Follower(read_again, [dropdown], [dropdown]))
    return dropdown

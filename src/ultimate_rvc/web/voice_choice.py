"""Choosing a voice: names for lists, and what a person typed or sent turned into a name of the library."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.voices.library import find_voice
from ultimate_rvc.web.controls import Form
from ultimate_rvc.web.desk import Desk, Door, problem
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.work.foreign import voice_names


def voice_dropdown(desk: Desk, key: str = "cover.voice") -> gr.Dropdown:
    """A list of voices that follows the library; a chosen one that is gone leaves it empty and is said to be gone."""
    texts = desk.texts
    names = voice_names()
    words = texts.labelled(key)
    # Any name may be sent: Gradio would refuse one that has just gone, in its own words and not in its place.
    dropdown = gr.Dropdown(names, value=names[0] if names else None, allow_custom_value=True, **words)

    def read_again(chosen: str | None) -> list[Any]:
        names = voice_names()
        if chosen and chosen not in names:
            return [gr.Dropdown(names, value=None, info=texts("error.voice_gone", name=chosen))]
        return [gr.Dropdown(names, value=chosen, info=words["info"])] if chosen else [gr.Dropdown(names)]

    desk.library_followers.append(Follower(read_again, [dropdown], [dropdown]))
    return dropdown


def follow_preset(desk: Desk, voice: gr.Dropdown, form: Form) -> None:
    """Let the form take over what the preset of the chosen voice says."""
    voice.change(desk.told(lambda name: _preset_values(form, name)), voice, list(form.components), **QUIET)


def _preset_values(form: Form, name: str | None) -> list[Any]:
    """What a voice's preset sets; the rest stays as it is."""
    preset: dict[str, Any] = {}
    if name:
        try:
            preset = find_voice(name).preset.to_json()
        except UltimateRVCError:  # deleted meanwhile; Generate will say so
            preset = {}
    if "n_semitones" in preset:
        preset["n_octaves"] = 0  # the preset's pitch is the whole shift
    return [
        control.show(preset[control.entry.name])
        if control.path.startswith("conversion.") and control.entry.name in preset
        else gr.skip()
        for control in form.controls
    ]


def checked_voice(desk: Door, name: str | None) -> str:
    """A name of the library; the engine would take a path as well, which is not for a page."""
    if not name:
        raise problem(desk.texts, desk.texts("error.no_voice"))
    if name not in voice_names():
        raise problem(desk.texts, desk.texts("error.unknown_voice", name=name))
    return name

"""The pitch of a voice: one number of semitones, octaves at a click, and a suggestion from the song and the voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ultimate_rvc.covers.suggestion import SEMITONES, suggested_shift
from ultimate_rvc.settings import Setting
from ultimate_rvc.voices.library import voice_card
from ultimate_rvc.web import controls
from ultimate_rvc.web.action_button import ActionButton, ProblemLine
from ultimate_rvc.web.controls import Control, Form
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.voice_choice import checked_voice

OCTAVES = "n_octaves"
"""Part of the one number, as in a voice's preset."""


@dataclass(frozen=True)
class PitchControl(Control):
    """The whole shift: what a settings file says in octaves is shown in semitones."""

    octaves: Setting

    def component(self, desk: Desk, given: Mapping[str, Any]) -> Any:
        """A number with steps: nobody finds a semitone on a slider of eight octaves."""
        low, high = self.entry.facts.low, self.entry.facts.high
        words = controls.words(desk.texts, self.entry)
        words["elem_classes"] = [controls.css_class(each) for each in (self.entry, self.octaves)]
        return gr.Number(self.shown(given), precision=0, minimum=low, maximum=high, step=1, **words)

    def shown(self, settings: Mapping[str, Any]) -> Any:
        whole: Any = settings
        for name in self.path.split(".")[:-1]:
            whole = whole.get(name) or {}
        return super().shown(settings) + SEMITONES * (whole.get(OCTAVES) or 0)


@dataclass(frozen=True)
class Heard:
    """From what a pitch is suggested: the (first) file of ``song``, for the chosen voice."""

    song: gr.File | gr.Audio
    voice: gr.Dropdown
    whole_octaves: bool
    """There is music around the voice, which stays in its key."""


def pitch_form(
    desk: Desk, group: Sequence[Control], heard: Heard | None, given: Mapping[str, Any] | None = None
) -> Form:
    """Lay out the shift of a group of controls as one number, with octaves; with a song, a suggestion as well."""
    texts = desk.texts
    octaves, semitones = sorted(group, key=lambda each: each.entry.name != OCTAVES)
    form = controls.lay_out(desk, [PitchControl(semitones.path, semitones.entry, octaves.entry)], given)
    (number,) = form.components
    low, high = semitones.entry.facts.low, semitones.entry.facts.high
    line = ProblemLine(desk, later=True)
    with gr.Row(elem_classes="octaves"):
        for word, step in (("lower", -SEMITONES), ("higher", SEMITONES)):
            button = gr.Button(texts(f"pitch.{word}"), size="sm", min_width=80)
            # In the browser: a step needs nobody's word.
            turn = f"(now) => Math.min(Math.max((now ?? 0) + {step}, {low}), {high})"
            button.click(None, number, number, js=turn, api_visibility="private")
        if heard is not None:
            _suggest(desk, heard, number, line)
    line.place()
    return form


def _suggest(desk: Desk, heard: Heard, number: Any, line: ProblemLine) -> None:
    """Lay out the button that fills in a pitch."""
    texts = desk.texts
    button = ActionButton(desk, texts("pitch.suggest"), line, size="sm", min_width=80)

    def suggest(uploads: list[str] | str | None, name: str | None) -> int:
        name = checked_voice(desk, name)
        if not uploads:
            raise problem(texts, texts("error.nothing_to_listen_to"))
        song = Path(uploads if isinstance(uploads, str) else uploads[0])
        home_hz = voice_card(name).pitch_median_hz
        if not home_hz:
            raise problem(texts, texts("error.no_home_pitch", name=name))
        return suggested_shift(song, home_hz, whole_octaves=heard.whole_octaves)

    button.runs(suggest, [heard.song, heard.voice], number, show_progress="minimal")

"""The settings of conversions and covers beyond song, voice and pitch, folded by theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.covers.settings import BackingVoice, CoverSettings
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.settings import settings_of
from ultimate_rvc.speech.engines import open_engine
from ultimate_rvc.web import controls
from ultimate_rvc.web.controls import Control, Form
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.suggestion import Heard, pitch_form
from ultimate_rvc.web.voice_choice import checked_voice
from ultimate_rvc.work.foreign import voice_names
from ultimate_rvc.work.requests import ConvertRequest, SpeechRequest

KEPT, LEADS = "", "\0lead"
PITCH = ("conversion.n_octaves", "conversion.n_semitones")
CONVERSION = ("conversion.", "index_path")
# Which settings stand in which fold; "" takes what no other does.
QUALITY = ("quality",)
COVER_FOLDS = {
    "quality": QUALITY,
    "pitch": PITCH,
    "conversion": CONVERSION,
    "stems": ("stems.",),
    "backing": ("backing.",),
    "mix": ("main_gain", "inst_gain", "backup_gain", "inst_semitones", "backup_semitones"),
    "effects": ("effects.",),
    "source": ("source.",),
    "output": ("output_format", "output_sr", "bitrate_kbps", "output_name", ""),
}
CONVERT_FOLDS = {"pitch": PITCH, "conversion": CONVERSION, "output": ("output_format", "bitrate_kbps", "")}

SPEECH_FOLDS = {
    "pitch": PITCH,
    "reading": ("engine", "language", "rate", "consent"),
    "text": ("text_format", "lexicon"),
    **CONVERT_FOLDS,
}
SPEECH_APART = ("document", "speaker")  # uploaded, and chosen from a list


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
        if backing is None:
            raise problem(self.desk.texts, self.desk.texts("error.no_backing_voice"))
        if backing == KEPT:
            cover["backing"] = None
        else:
            voice = None if backing == LEADS else checked_voice(self.desk, backing)
            cover["backing"] = {**cover["backing"], "voice": voice}
        return cover

    @property
    def time_taking(self) -> list[Any]:
        """The components that decide how long a cover takes."""
        return [self.backing, *self._stems.components]

    def read_time_taking(self, values: Sequence[Any]) -> dict[str, Any]:
        """As :meth:`read`, of those components only."""
        backing, *rest = values
        return {**self._stems.read(rest), "backing": None if backing == KEPT else {}}

    @property
    def _stems(self) -> Form:
        return self.form.only(*QUALITY, "stems.")

    def show(self, cover: Mapping[str, Any]) -> list[Any]:
        """The components' values for fields of ``CoverSettings``."""
        return [_has_effects(cover), _backing_of(cover), *self.form.show(cover)]


def _has_effects(cover: Mapping[str, Any]) -> bool:
    return cover.get("effects", {}) is not None


def _backing_of(cover: Mapping[str, Any]) -> str:
    backing = cover.get("backing")
    return KEPT if backing is None else backing.get("voice") or LEADS


def cover_form(desk: Desk, given: Mapping[str, Any], heard: Heard) -> CoverForm:
    """Lay out every setting of a cover but its quality, all but pitch folded, with the values of ``given``."""
    texts = desk.texts
    parts = _cover_parts()
    forms = [pitch_form(desk, parts["pitch"], heard, given)]
    with gr.Accordion(texts("advanced.title"), open=False):
        gr.Markdown(texts("advanced.info"), elem_classes="hint")
        forms += [folded(desk, name, parts[name], given) for name in ("conversion", "stems")]
        with gr.Accordion(texts("advanced.mix"), open=False):
            backing = _backing(desk, _backing_of(given))
            with gr.Row(visible=_backing_of(given) != KEPT) as shift:
                forms.append(controls.lay_out(desk, parts["backing"], given))
            forms.append(controls.lay_out(desk, parts["mix"], given))
        with gr.Accordion(texts("advanced.effects"), open=False):
            effects = gr.Checkbox(_has_effects(given), **texts.labelled("setting.effects"))
            forms.append(controls.lay_out(desk, parts["effects"], given))
        forms += [folded(desk, name, parts[name], given) for name in ("source", "output")]
    backing.change(lambda chosen: gr.Row(visible=chosen != KEPT), backing, shift, **QUIET)
    return CoverForm(desk, controls.joined(*forms), effects, backing)


def with_quality(form: CoverForm, given: Mapping[str, Any]) -> CoverForm:
    """The whole form, with the quality laid out here: it belongs beside the button that begins the work."""
    quality = controls.lay_out(form.desk, _cover_parts()["quality"], given)
    return replace(form, form=controls.joined(form.form, quality))


def _cover_parts() -> dict[str, list[Control]]:
    return controls.groups(CoverSettings, COVER_FOLDS, leave_out=("optimization", "backing.voice"))


def convert_form(desk: Desk, heard: Heard) -> Form:
    """Lay out every setting of a conversion of files, all but pitch and format folded."""
    parts = controls.groups(ConvertRequest, CONVERT_FOLDS)
    audio_format, *output = parts["output"]
    return controls.joined(
        pitch_form(desk, parts["pitch"], heard),
        folded(desk, "conversion", parts["conversion"]),
        controls.lay_out(desk, [audio_format]),
        folded(desk, "output", output),
    )


def speech_form(desk: Desk) -> Form:
    """Lay out every setting of speech: who reads and the pitch, the rest folded."""
    parts = controls.groups(SpeechRequest, SPEECH_FOLDS, leave_out=SPEECH_APART)
    audio_format, *output = parts["output"]
    return controls.joined(
        speaker_form(desk),
        pitch_form(desk, parts["pitch"], heard=None),
        controls.lay_out(desk, parts["reading"]),
        folded(desk, "text", parts["text"]),
        folded(desk, "conversion", parts["conversion"]),
        controls.lay_out(desk, [audio_format]),
        folded(desk, "output", output),
    )


def speaker_form(desk: Desk) -> Form:
    """Lay out a list of who can read; any other name can be typed."""
    entry = settings_of(SpeechRequest)["speaker"]
    dropdown = gr.Dropdown(
        speaker_choices(desk, SpeechEngineName.AUTO),
        value=controls.NOTHING,
        allow_custom_value=True,
        **controls.words(desk.texts, entry),
    )
    return Form([Control("speaker", entry)], [dropdown])


def speaker_choices(desk: Desk, engine: str) -> list[tuple[str, str]]:
    """Who of an engine can read, with the language; first the one that it takes unasked."""
    try:
        known = open_engine(SpeechEngineName(engine)).speakers()
    except UltimateRVCError:  # Speak will say how to get it
        known = ()
    named = [(f"{each.name} ({each.language})", each.name) for each in known]
    return [(desk.texts("setting.automatic"), controls.NOTHING), *named]


def folded(desk: Desk, name: str, group: Sequence[Control], given: Mapping[str, Any] | None = None) -> Form:
    """Lay out a group of controls in a fold of its own."""
    with gr.Accordion(desk.texts(f"advanced.{name}"), open=False):
        return controls.lay_out(desk, group, given)


def _backing(desk: Desk, chosen: str) -> gr.Dropdown:
    texts = desk.texts

    def choices() -> list[tuple[str, str]]:
        own = [(texts("setting.backing.kept"), KEPT), (texts("setting.backing.lead"), LEADS)]
        return own + [(name, name) for name in voice_names()]

    dropdown = gr.Dropdown(
        choices(),
        value=chosen,
        allow_custom_value=True,
        **texts.labelled("setting.backing"),
        elem_classes=controls.css_class(settings_of(BackingVoice)["voice"]),
    )

    def read_again(chosen: str) -> list[Any]:
        known = choices()
        if chosen in [value for _, value in known]:
            return [gr.Dropdown(known, value=chosen, info=texts("setting.backing.info"))]
        return [gr.Dropdown(known, value=None, info=texts("error.voice_gone", name=chosen or ""))]

    desk.library_followers.append(Follower(read_again, [dropdown], [dropdown]))
    return dropdown

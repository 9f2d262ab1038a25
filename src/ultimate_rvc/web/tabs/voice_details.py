"""What belongs to one voice: what its files hold, note, tags, picture, preset, index, export, deletion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.paths import output_dir
from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.settings import settings_of
from ultimate_rvc.voices import library
from ultimate_rvc.voices.library import VoicePreset
from ultimate_rvc.web import controls, display
from ultimate_rvc.web.action_button import ActionButton, ProblemLine
from ultimate_rvc.web.controls import Control, Form
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.endpoints_voices import EXPORTS
from ultimate_rvc.web.following import Follower, follow_together
from ultimate_rvc.web.voice_choice import checked_voice


def build(desk: Desk, chosen: gr.State, card: Follower) -> None:
    """Lay out the details of the voice whose name is in ``chosen``; its ``card`` follows with them."""
    texts = desk.texts
    quiet: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
    with gr.Accordion(texts("details.title"), open=False, visible=False) as form:
        facts = gr.HTML(padding=False)
        inspect = ActionButton(desk, texts("details.inspect"), size="sm")
        note = gr.Textbox(value="", **texts.labelled("details.note"), lines=2, max_length=4000)
        tags = gr.Textbox("", **texts.labelled("details.tags"), max_lines=1)
        gr.Markdown(texts("details.preset"), elem_classes="hint")
        preset = _preset(desk)
        save = ActionButton(desk, texts("details.save"), variant="primary")
        with gr.Accordion(texts("details.files"), open=False):
            picture = gr.File(
                label=texts("details.picture.label"), file_types=[".png", ".jpg", ".jpeg", ".webp"],
                type="filepath", height=110,
            )  # fmt: skip
            index = gr.File(
                label=texts("details.index.label"), file_types=[".index"], type="filepath", height=110
            )
            rename = gr.Textbox("", **texts.labelled("details.rename"), max_lines=1)
            files_line = ProblemLine(desk, later=True)
            with gr.Row():
                apply = ActionButton(desk, texts("details.apply"), files_line)
                refresh = ActionButton(desk, texts("details.refresh"), files_line)
            files_line.place()
        line = ProblemLine(desk, later=True)
        with gr.Row():
            export = ActionButton(desk, texts("details.export"), line)
            delete = ActionButton(desk, texts("details.delete"), line, variant="stop")
        line.place()
        exported = gr.File(label=texts("details.exported"), interactive=False, visible=False)

    shown = [facts, form, note, tags, *preset.components, exported]

    def look(name: str | None) -> list[Any]:
        return _look(desk, name, preset)

    follow_together([Follower(desk.told(look), [chosen], shown), card], chosen.change)
    inspect.runs(lambda name: _inspected(desk, name), chosen, facts, **quiet)
    save.runs(
        lambda name, note, tags, *values: _save(desk, name, note, tags, preset.read(values)),
        [chosen, note, tags, *preset.components],
        facts,
        **quiet,
    )
    apply.runs(
        lambda *values: _apply(desk, *values),
        [chosen, picture, index, rename],
        [chosen, picture, index, rename, facts],
        **quiet,
    )
    refresh.runs(lambda name: _refreshed(desk, name), chosen, facts, **quiet)
    export.runs(lambda name: _export(desk, name), chosen, exported, **quiet)
    delete.runs(lambda name: _delete(desk, name), chosen, chosen, **quiet)


def _preset(desk: Desk) -> Form:
    """What a preset holds; empty leaves a setting to its usual default."""
    known = settings_of(ConversionSettings)
    entries = [replace(known[each.name], is_optional=True, default=None) for each in fields(VoicePreset)]
    parts = [Control(entry.name, entry) for entry in entries]
    with gr.Row():
        numbers = controls.lay_out(desk, [part for part in parts if not part.entry.is_list])
    return controls.joined(numbers, controls.lay_out(desk, [part for part in parts if part.entry.is_list]))


def _look(desk: Desk, name: str | None, preset: Form) -> list[Any]:
    if name is None:
        return ["", gr.Accordion(visible=False), "", "", *preset.show({}), gr.File(visible=False)]
    card = library.voice_card(name)
    return [
        _facts(desk, name),
        gr.Accordion(visible=True),
        card.note,
        ", ".join(card.tags),
        *preset.show(to_plain(card.preset)),
        gr.File(value=None, visible=False),
    ]


def _facts(desk: Desk, name: str) -> str:
    """What is known without opening the voice."""
    card = library.voice_card(name)
    rows: dict[str, object] = {
        "sample_rate": f"{card.sample_rate} Hz" if card.sample_rate else None,
        "version": card.version,
        "embedder": card.embedder,
        "vocoder": card.vocoder,
        "f0": card.f0,
        "speakers": card.speakers,
        "pitch_median_hz": f"{card.pitch_median_hz:.0f} Hz" if card.pitch_median_hz else None,
        "epoch": card.epoch,
        "author": card.author,
        "model_bytes": display.megabytes(card.model_bytes),
        "index_bytes": display.megabytes(card.index_bytes) if card.index_bytes else None,
    }
    return _table(desk, rows, card.warnings)


def _inspected(desk: Desk, name: str | None) -> str:
    """All that the files hold, every byte read anew."""
    name = checked_voice(desk, name)
    details = library.inspect_voice(library.find_voice(name)).to_json()
    left_out = ("name", "warnings", "changes", "note", "tags", "preset", "speaker_names")
    rows = {key: value for key, value in details.items() if key not in left_out and not key.endswith("_path")}
    return _table(desk, rows, (*details["changes"], *details["warnings"]))


def _table(desk: Desk, rows: dict[str, object], warnings: tuple[str, ...]) -> str:
    shown = {key: _shown(desk, value) for key, value in rows.items() if value is not None}
    lines = "".join(
        f"<tr><th>{escape(desk.texts.named('voice_fact', key))}</th><td>{escape(value)}</td></tr>"
        for key, value in shown.items()
    )
    told = "".join(f"<li>{escape(desk.texts.sentence(warning))}</li>" for warning in warnings)
    return f'<div class="job"><table class="voice">{lines}</table><ul class="warnings">{told}</ul></div>'


def _shown(desk: Desk, value: object) -> str:
    return desk.texts(f"voice_fact.{'yes' if value else 'no'}") if isinstance(value, bool) else str(value)


def _save(desk: Desk, name: str | None, note: str, tags: str, given: Mapping[str, Any]) -> str:
    name = checked_voice(desk, name)
    preset = from_plain(VoicePreset, given)
    library.set_note(name, note)
    library.set_tags(name, [tag for tag in map(str.strip, tags.split(",")) if tag])
    library.set_preset(name, preset)
    desk.server.mark_edit()
    gr.Info(desk.texts("details.saved", name=name))
    return _facts(desk, name)


def _apply(desk: Desk, name: str | None, picture: str | None, index: str | None, new_name: str) -> list[Any]:
    name = checked_voice(desk, name)
    if not (picture or index or new_name.strip()):
        raise problem(desk.texts, desk.texts("error.nothing_to_do"))
    if picture:
        library.set_picture(name, picture)
    if index:
        library.attach_index(name, index)
    if new_name.strip():
        name = library.rename_voice(name, new_name.strip()).name
    desk.server.mark_edit()
    return [name, None, None, "", _facts(desk, name)]


def _refreshed(desk: Desk, name: str | None) -> str:
    name = library.refresh_voice(checked_voice(desk, name)).name
    desk.server.mark_edit()
    return _facts(desk, name)


def _export(desk: Desk, name: str | None) -> gr.File:
    exported = library.export_voice(checked_voice(desk, name), output_dir() / EXPORTS, overwrite=True)
    for warning in exported.warnings:
        gr.Warning(escape(desk.texts.sentence(warning), quote=False))
    return gr.File(value=str(exported.path), visible=True)


def _delete(desk: Desk, name: str | None) -> None:
    name = checked_voice(desk, name)
    library.delete_voice(name)
    desk.server.mark_edit()
    gr.Info(desk.texts("details.deleted", name=name))

"""How work is computed: switches chosen in this browser, sent with each job, saved and loaded by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc import settings_files
from ultimate_rvc.choices import Backend, Device
from ultimate_rvc.switches import AUTO_BATCH, SWITCHES, Switch, check_switches, resolve_config
from ultimate_rvc.web import controls
from ultimate_rvc.web.action_button import ActionButton, ProblemLine
from ultimate_rvc.web.controls import OFF, ON
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.following import QUIET, Follower
from ultimate_rvc.web.portions import portions
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.work import settings_parts
from ultimate_rvc.work.settings_parts import LEFT_OUT

IN_VIEW = ("device",)  # what a user looks for first; all others are for who wants to know
USUAL = ""  # what variables, settings file and hardware decide
SUGGESTED = {
    "backend": [word.value for word in Backend],
    "device": [word.value for word in Device if word is not Device.AUTO],
    "batch_size": [AUTO_BATCH, "1", "2", "4", "8", "16", "32", "64"],
}


def build(desk: Desk) -> None:
    """Lay out the device, all other switches in a fold, and the settings files."""
    texts = desk.texts
    line = ProblemLine(desk)
    laid_out = {name: _switch(desk, name) for name in IN_VIEW}
    with gr.Accordion(texts("settings.computed"), open=False) as folded:
        gr.Markdown(texts("settings.switches.info"), elem_classes="hint")
        laid_out |= {name: _switch(desk, name) for name in SWITCHES if name not in IN_VIEW}
        in_force = gr.HTML(padding=False)
    switches = [laid_out[name] for name in SWITCHES]
    for switch in switches:
        # `input` and not `change`: only a person's choice is written, not what was read from the browser.
        line.watches(
            switch.input, lambda *values: read_switches(values), switches, desk.optimization, **QUIET
        )

    def kept(chosen: dict[str, Any] | None) -> list[Any]:
        # Nothing chosen is what a new page shows; saying so again could undo a click that came first.
        return show_switches(chosen) if chosen else [gr.skip()] * len(switches)

    # Only on arrival: an answer to each change could come after the next one and undo it.
    desk.arrivals.append(Follower(desk.told(kept), [desk.optimization], switches))
    shown = desk.told(lambda chosen: _in_force(desk, chosen or {}))
    gr.on([desk.optimization.change, folded.expand], shown, desk.optimization, in_force, **QUIET)
    _files(desk, switches)


def _switch(desk: Desk, name: str) -> Any:
    texts, entry = desk.texts, SWITCHES[name]
    words = controls.words(texts, entry)
    usual = (texts("switch.usual"), USUAL)
    if entry.kind is bool:
        return gr.Radio([usual, (texts("switch.on"), ON), (texts("switch.off"), OFF)], value=USUAL, **words)
    return gr.Dropdown([usual, *SUGGESTED[name]], value=USUAL, allow_custom_value=name == "device", **words)


def read_switches(values: Sequence[Any]) -> dict[str, Any]:
    """Fields of ``OptimizationConfig`` that were chosen; what is no choice is refused with its sentence."""
    return check_switches(
        {name: None if value == USUAL else value for name, value in zip(SWITCHES, values, strict=True)}
    )


def show_switches(chosen: dict[str, Any]) -> list[Any]:
    """The controls' values for what was chosen."""

    return [
        str(value).lower() if isinstance(value, bool) else str(value)
        for value in (chosen.get(name, USUAL) for name in SWITCHES)
    ]


def _in_force(desk: Desk, chosen: dict[str, Any]) -> str:
    """Every switch with its value, and who decided it."""
    texts = desk.texts
    resolved = resolve_config(chosen)

    def origin(switch: Switch) -> str:
        return texts("switch.page") if switch.name in chosen else texts.sentence(switch.origin)

    rows = "".join(
        f"<tr><th>{escape(texts.setting(SWITCHES[switch.name])[0])}</th><td>{escape(_told(switch.value, texts))}</td>"
        f"<td>{escape(origin(switch))}</td></tr>"
        for switch in resolved.switches
    )
    return f'<h4>{escape(texts("settings.in_force"))}</h4><table class="voice">{rows}</table>'


def _told(value: object, texts: Texts) -> str:
    return texts("switch.on" if value else "switch.off") if isinstance(value, bool) else str(value)


def _files(desk: Desk, switches: Sequence[Any]) -> None:
    texts = desk.texts
    with gr.Accordion(texts("files.title"), open=False):
        known = gr.Dropdown(settings_files.names(), value=None, **texts.labelled("files.known"))
        line = ProblemLine(desk, later=True)
        with gr.Row():
            load = ActionButton(desk, texts("files.load"), line)
            reset = gr.Button(texts("files.reset"))
        line.place()
        name = gr.Textbox("", **texts.labelled("files.name"), max_lines=1)
        save = ActionButton(desk, texts("files.save"), variant="primary", interactive=desk.server.is_local)

    forms = desk.forms
    everything = [*switches, *(part for form in forms.values() for part in form.components)]

    def shown(chosen: dict[str, Any], parts: Mapping[str, Any]) -> list[Any]:
        rest = [value for part, form in forms.items() for value in form.show(parts.get(part, {}))]
        return [chosen, *show_switches(chosen), *rest]

    def loaded(name: str | None) -> list[Any]:
        if not name:
            raise problem(texts, texts("error.no_settings_file"))
        chosen, parts = settings_parts.load(name)
        gr.Info(texts("files.loaded", name=escape(name, quote=False)))
        return shown(chosen, parts)

    def saved(name: str, *values: Any) -> gr.Dropdown:
        if not desk.server.is_local:
            raise problem(texts, texts("error.local_only"))
        chosen, *shares = portions(
            values, [len(switches), *(len(form.components) for form in forms.values())]
        )
        parts = {
            part: {
                name: value for name, value in form.read(share).items() if f"{part}.{name}" not in LEFT_OUT
            }
            for (part, form), share in zip(forms.items(), shares, strict=True)
        }
        settings_parts.save(name, read_switches(chosen), parts)
        gr.Info(texts("files.saved", name=escape(name.strip(), quote=False)))
        return gr.Dropdown(settings_files.names(), value=name.strip())

    places = [desk.optimization, *everything]
    load.runs(loaded, known, places)
    reset.click(lambda: shown({}, {}), None, places, concurrency_limit=None, api_visibility="private")
    save.runs(saved, [name, *everything], known)

"""What this machine does: how long a cover takes on it, where work is done, how exactly, and who chose that."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc.choices import Device
from ultimate_rvc.switches import ResolvedConfig, resolve_config
from ultimate_rvc.web import estimate
from ultimate_rvc.web.action_button import problem_html
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET
from ultimate_rvc.web.texts import Texts

PRECISION_SWITCHES = ("use_int8", "use_bf16", "use_fp16")  # the first that is on counts


def build(desk: Desk) -> None:
    """Lay out the sentences; they are filled once the page is shown, because the machine may have to be measured."""
    texts = desk.texts
    waiting = f'<p class="estimate quiet">{escape(texts("estimate.waiting"))}</p>'
    told = gr.HTML(waiting, padding=False, elem_classes="machine")

    def found(chosen: dict[str, Any] | None) -> str:
        return sentences(chosen or {}, texts)

    def look(chosen: dict[str, Any] | None) -> str:
        try:
            return desk.told(found)(chosen)
        except gr.Error as error:  # a device that is not there: its message is HTML already
            return problem_html(error.message)

    changes = [desk.optimization.change, desk.library.change]
    gr.on(changes, look, desk.optimization, told, trigger_mode="always_last", **QUIET)


def sentences(chosen: dict[str, Any], texts: Texts) -> str:
    """Time of a cover, device, precision and backend as HTML.

    Raises
    ------
    SettingError
        A switch is none, or its device is not there.
    """
    machine = estimate.machine_for(chosen)
    resolved = resolve_config(chosen)
    expected = estimate.estimate(estimate.Lengths.of(None, None), estimate.cover_settings({}), machine)
    kind = machine.device.partition(":")[0]
    lines = [
        texts(
            "machine.device",
            value=texts.named("machine.device", kind),
            who=_who(resolved, "device", chosen, texts),
        ),
        texts(
            "machine.precision",
            value=texts(f"machine.precision.{resolved.config.precision}"),
            who=_who(resolved, _deciding(resolved), chosen, texts),
        ),
        texts(
            "machine.backend",
            value=texts.named("machine.backend", resolved.config.backend),
            who=_who(resolved, "backend", chosen, texts),
        ),
    ]
    rows = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"{estimate.line(expected, texts)}<ul>{rows}</ul>"


def _deciding(resolved: ResolvedConfig) -> str:
    """The switch that decided the precision: one that is on, else one that a person turned off."""
    switches = {switch.name: switch for switch in resolved.switches if switch.name in PRECISION_SWITCHES}
    on = [name for name in PRECISION_SWITCHES if switches[name].value is True]
    off = [name for name in PRECISION_SWITCHES if switches[name].is_chosen]
    return next(iter([*on, *off, PRECISION_SWITCHES[-1]]))


def _who(resolved: ResolvedConfig, name: str, chosen: dict[str, Any], texts: Texts) -> str:
    """Who chose the value of a switch."""
    switch = next(each for each in resolved.switches if each.name == name)
    if not switch.is_chosen or (name == "device" and switch.value == Device.AUTO):
        return texts("machine.by_hardware")
    return texts("machine.by_page") if name in chosen else texts("machine.by", origin=switch.origin)

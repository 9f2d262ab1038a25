"""Beside Generate: the line that says how long a cover takes, and the footer that says what is missing for it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.web import estimate
from ultimate_rvc.web.action_button import problem_html
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.following import QUIET
from ultimate_rvc.web.missing import MissingFooter, missing_models
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.tabs.advanced import CoverForm


def estimate_line(desk: Desk) -> gr.HTML:
    """Lay out the line; it is filled when the page has been shown, because the machine may have to be measured."""
    waiting = f'<p class="estimate quiet">{desk.texts("estimate.waiting")}</p>'
    return gr.HTML(waiting, padding=False, elem_classes="estimate-line")


def follow(
    desk: Desk, line: gr.HTML, footer: MissingFooter, cover: JobPanel, form: CoverForm,
    song: gr.File, link: gr.Textbox, voice: gr.Dropdown,
) -> None:  # fmt: skip
    """Let line and footer follow song, voice, settings, the library, and what covers and downloads have changed."""

    def found(
        uploads: list[str] | None, link: str | None, name: str | None, optimization: dict[str, Any] | None,
        *values: Any,
    ) -> list[Any]:  # fmt: skip
        settings = estimate.cover_settings(form.read_time_taking(values))
        machine = estimate.machine_for(optimization or {})
        expected = estimate.estimate(estimate.Lengths.of(uploads, link), settings, machine)
        missing = missing_models(name, expected.models)
        return [estimate.line(expected, desk.texts), *footer.show(missing)]

    told = desk.told(found)

    def look(*given: Any) -> list[Any]:
        try:
            return told(*given)
        except gr.Error as error:  # Generate will say it as well; here it is no more than a line
            return [problem_html(error.message), *(gr.skip() for _ in footer.places)]

    watched = [song, link, voice, desk.optimization, *form.time_taking]
    changes = [*watched, desk.library, cover.shown, footer.panel.shown]
    gr.on(
        [each.change for each in changes],
        look,
        watched,
        [line, *footer.places],
        trigger_mode="always_last",
        **QUIET,
    )

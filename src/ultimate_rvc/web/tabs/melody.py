"""A picture of the melody before and after the conversion, drawn when somebody asks for it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.web import pitch_picture
from ultimate_rvc.web.action_button import ActionButton
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.panel import JobPanel


def melody(desk: Desk, panel: JobPanel) -> list[Any]:
    """Lay it out for the jobs of a panel; returns what :func:`shown` changes."""
    texts = desk.texts
    with gr.Accordion(texts("melody.title"), open=False, visible=False) as folder:
        gr.Markdown(texts("melody.info"), elem_classes="hint")
        show = ActionButton(desk, texts("melody.show"), size="sm")
        picture = gr.Plot(show_label=False, visible=False)

    def draw(job_id: int | None) -> Any:
        paths = pitch_picture.source_and_result(panel.find(job_id))
        if paths is None:
            raise problem(texts, texts("error.no_melody"))
        labels = (texts("melody.source"), texts("melody.result"), texts("melody.seconds"), texts("melody.hz"))
        return gr.Plot(value=pitch_picture.draw(*paths, labels), visible=True)

    show.runs(draw, panel.job_id, picture)
    return [folder, picture]


def shown(job: Job | None) -> list[Any]:
    """There is something to draw once both vocals are there; the picture of another job goes."""
    is_there = pitch_picture.source_and_result(job) is not None
    return [gr.Accordion(visible=is_there, open=False), gr.Plot(value=None, visible=False)]

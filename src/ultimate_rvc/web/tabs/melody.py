"""A picture of the melody before and after the conversion, drawn when somebody asks for it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ultimate_rvc.web import pitch_picture
from ultimate_rvc.web.desk import Desk, problem
from ultimate_rvc.web.panel import JobPanel


def melody(desk: Desk, panel: JobPanel) -> None:
    """Lay it out for the jobs of a panel."""
    texts = desk.texts
    with gr.Accordion(texts("melody.title"), open=False):
        gr.Markdown(texts("melody.info"), elem_classes="hint")
        show = gr.Button(texts("melody.show"), size="sm")
        picture = gr.Plot(show_label=False, visible=False)

    def draw(job_id: int | None) -> Any:
        paths = pitch_picture.source_and_result(panel.find(job_id))
        if paths is None:
            raise problem(texts, texts("error.no_melody"))
        labels = (texts("melody.source"), texts("melody.result"), texts("melody.seconds"), texts("melody.hz"))
        return gr.Plot(value=pitch_picture.draw(*paths, labels), visible=True)

    show.click(desk.told(draw), panel.job_id, picture, api_visibility="private")

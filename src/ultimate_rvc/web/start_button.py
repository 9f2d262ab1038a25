"""A button that starts something, with a line below it that says in one sentence why it could not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ultimate_rvc.web.desk import Desk


class StartButton:
    """Laid out where it is made; further arguments are those of ``gr.Button``."""

    def __init__(self, desk: Desk, label: str, **look: Any) -> None:
        self._desk = desk
        self.button = gr.Button(label, variant="primary", **look)
        self._line = gr.HTML("", elem_classes="problem-line")

    def runs(self, work: Callable[..., Any], inputs: Sequence[Any], output: Any) -> None:
        """Call ``work`` with the inputs' values and put what it returns into ``output``."""
        told = self._desk.told(work)

        def attempt(*values: Any) -> list[Any]:
            try:
                return [told(*values), ""]
            except gr.Error as error:  # its message is HTML already
                return [gr.skip(), f'<p class="problem" role="alert">{error.message}</p>']

        self.button.click(attempt, list(inputs), [output, self._line], api_visibility="private")

"""Buttons that do something, with a line below that says in one sentence why it could not be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.events import Dependency

from ultimate_rvc.web.desk import Desk

Outputs = Sequence[Any]
ONCE = "once"  # the class by which ``page.js`` finds them


class ProblemLine:
    """The line: nothing until something goes wrong, and nothing again once it goes well.

    Laid out where it is made; with ``later=True`` where :meth:`place` is called, below a row of buttons.
    """

    def __init__(self, desk: Desk, *, later: bool = False) -> None:
        self._desk = desk
        self._html = gr.HTML("", elem_classes="problem-line", padding=False, render=not later)

    def place(self) -> None:
        self._html.render()

    def watches(
        self, event: Callable[..., Any], work: Callable[..., Any], inputs: Any, outputs: Any, **options: Any
    ) -> Dependency:
        """Call ``work`` with the inputs' values at an event, and tell here what goes wrong.

        ``outputs`` are one component, several, or None, as ``work`` returns them.
        """
        many = isinstance(outputs, Sequence)
        places: Outputs = list(outputs) if many else [] if outputs is None else [outputs]
        told = self._desk.told(work)

        def attempt(*values: Any) -> list[Any]:
            try:
                made = told(*values)
            except gr.Error as error:  # its message is HTML already
                return [*(gr.skip() for _ in places), problem_html(error.message)]
            return [*(made if many else [made] * len(places)), ""]

        return event(attempt, inputs, [*places, self._html], **{"api_visibility": "private", **options})


def problem_html(message: str) -> str:
    """The line for a sentence that is HTML."""
    return f'<p class="problem" role="alert">{message}</p>'


def action_bar() -> gr.Column:
    """What stays in view at the foot of a tab: the button that begins the work, and how far that is."""
    return gr.Column(elem_classes="action-bar")


class ActionButton:
    """A button with its line below; further arguments are those of ``gr.Button``.

    A second click within a second does nothing (``page.js``): impatience makes no second job.
    """

    def __init__(self, desk: Desk, label: str, line: ProblemLine | None = None, **look: Any) -> None:
        self.button = gr.Button(label, elem_classes=[ONCE, *look.pop("elem_classes", ())], **look)
        self._line = line or ProblemLine(desk)

    def runs(self, work: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Dependency:
        """Call ``work`` with the inputs' values and put what it returns into the outputs."""
        return self._line.watches(self.button.click, work, inputs, outputs, **options)

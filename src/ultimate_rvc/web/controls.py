"""Controls of the page, derived from the settings that they fill: words, ranges and defaults stand there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.settings import REQUIRED, Setting, nested, walk
from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.work.foreign import OVERWRITE

LARGEST_SAFE_INTEGER = 2**53 - 1  # browsers count no further
NOTHING = ""  # what a control holds that leaves its setting to the program
ON, OFF = "true", "false"
SIDE_BY_SIDE = ("quality",)  # settings whose choices are all in view, with words of their own


@dataclass(frozen=True)
class Control:
    """One setting on the page: its dotted ``path`` in the job's settings."""

    path: str
    entry: Setting

    def component(self, desk: Desk, given: Mapping[str, Any]) -> Any:
        """The control, with its value in ``given``, nested settings, or its default."""
        entry, texts = self.entry, desk.texts
        options: dict[str, Any] = {"value": self.shown(given), **words(texts, entry)}
        has_automatic = entry.is_optional and not entry.is_list  # of a list, none is enough
        automatic = [(texts("setting.automatic"), NOTHING)] if has_automatic else []
        if entry.name in SIDE_BY_SIDE:
            told = [(texts(f"choice.{entry.name}.{choice}"), str(choice)) for choice in entry.choices]
            return gr.Radio(told, **options)
        if entry.choices:
            choices = [*automatic, *offered(entry, desk.server.is_local)]
            return gr.Dropdown(
                choices, multiselect=entry.is_list, allow_custom_value=entry.is_open, **options
            )
        if entry.kind is bool:
            if not entry.is_optional:
                return gr.Checkbox(**options)
            return gr.Radio([*automatic, (texts("switch.on"), ON), (texts("switch.off"), OFF)], **options)
        if not self._is_number:
            return gr.Textbox(max_lines=1, **options)
        if entry.is_optional:  # Gradio's box for numbers shows and sends 0 where there is none
            return gr.Textbox(max_lines=1, placeholder=texts("setting.automatic"), **options)
        low, high = entry.facts.low, entry.facts.high
        limits = {"minimum": low, "maximum": None if high is None else min(high, LARGEST_SAFE_INTEGER)}
        if entry.facts.step is not None:
            return gr.Slider(step=entry.facts.step, **limits, **options)
        return gr.Number(precision=0 if entry.kind is int else None, **limits, **options)

    @property
    def _is_number(self) -> bool:
        return self.entry.kind in (int, float) and not self.entry.choices

    def shown(self, settings: Mapping[str, Any]) -> Any:
        """The control's value from nested settings; what is left out has its default."""
        value: Any = settings
        for name in self.path.split("."):
            value = value.get(name, self.entry.default) if isinstance(value, Mapping) else self.entry.default
        return self.show(value)

    def show(self, value: Any) -> Any:
        """The control's value from the setting's."""
        entry = self.entry
        if entry.is_list:
            return [str(part) for part in value or ()]
        if entry.kind is bool:
            return value if not entry.is_optional else NOTHING if value is None else ON if value else OFF
        if entry.kind in (int, float) and not (self._is_number and entry.is_optional):
            return NOTHING if value is None else value
        return NOTHING if value is None else str(value)

    def read(self, value: Any) -> Any:
        """The setting's value from the control's; what it may be is checked when the job is made."""
        if value is None or value == NOTHING or (value == [] and self.entry.is_optional):
            return None
        if self.entry.kind is bool and self.entry.is_optional:
            return {ON: True, OFF: False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, str):
            return value
        return _number(value) if self._is_number else value.strip() or None


@dataclass(frozen=True)
class Form:
    """Controls that were laid out, in the order in which their values come back."""

    controls: Sequence[Control]
    components: Sequence[Any]

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """Values of the components as nested settings of a job; an empty box leaves a number to its default."""
        pairs = zip(self.controls, values, strict=True)
        read = {control: control.read(value) for control, value in pairs}
        return nested(
            {
                control.path: value
                for control, value in read.items()
                if value is not None or control.entry.is_optional
            }
        )

    def show(self, settings: Mapping[str, Any]) -> list[Any]:
        """Values of the components from nested settings; what is left out has its default."""
        return [control.shown(settings) for control in self.controls]

    def only(self, *paths: str) -> Form:
        """The controls of these dotted paths, or beginnings of them that end in a dot."""
        pairs = zip(self.controls, self.components, strict=True)
        kept = [pair for pair in pairs if any(_names(path, pair[0].path) for path in paths)]
        return Form([control for control, _ in kept], [component for _, component in kept])


def lay_out(desk: Desk, controls: Sequence[Control], given: Mapping[str, Any] | None = None) -> Form:
    """Put controls where the layout stands, with what is ``given`` instead of the defaults.

    What is for the user of this machine only is left out of a page that others reach, so that nobody can fill it in.
    """
    known = [each for each in controls if desk.server.is_local or not is_local_only(each.entry)]
    return Form(known, [control.component(desk, given or {}) for control in known])


def joined(*forms: Form) -> Form:
    """Several forms as one."""
    return Form(
        [control for form in forms for control in form.controls],
        [component for form in forms for component in form.components],
    )


def groups(
    kind: type[Any], folds: Mapping[str, Sequence[str]], leave_out: Collection[str] = ()
) -> dict[str, list[Control]]:
    """The controls of a settings class, each in the first fold that names it, in that fold's order.

    Parameters
    ----------
    folds : mapping
        Dotted paths, or beginnings of them that end in a dot; an empty text takes all that is left.
    leave_out : dotted paths, or their first parts
        That the page says otherwise; settings without a default are its own fields.
    """
    found: dict[str, list[tuple[int, Control]]] = {fold: [] for fold in folds}
    places = [(fold, place, path) for fold, paths in folds.items() for place, path in enumerate(paths)]
    for path, entry in walk(kind):
        if entry.default is REQUIRED or {path, path.partition(".")[0]} & set(leave_out):
            continue
        fold, place, _ = next(each for each in places if _names(each[2], path))
        found[fold].append((place, Control(path, entry)))
    return {
        fold: [control for _, control in sorted(placed, key=lambda each: each[0])]
        for fold, placed in found.items()
    }


def _number(text: str) -> float | str | None:
    """What a box holds; what is no number is refused with its name when the job is made."""
    try:
        return float(text)
    except ValueError:
        return text.strip() or None


def _names(beginning: str, path: str) -> bool:
    return path == beginning or (beginning[-1:] in ("", ".") and path.startswith(beginning))


def words(texts: Texts, entry: Setting) -> dict[str, Any]:
    """Label and sentence of a setting's control, and the class by which it is found on the page."""
    label, info = texts.setting(entry)
    return {"label": label, "info": info, "elem_classes": css_class(entry)}


def css_class(entry: Setting) -> str:
    return f"setting-{entry.words_key.replace('.', '-')}"


def offered(entry: Setting, is_local: bool) -> list[tuple[str, Any]]:
    """The choices of a setting that a page offers, as they are shown and as they are sent."""
    # An encoder of one's own is a folder of the machine.
    hidden = (*entry.facts.hidden, *(() if is_local else (EmbedderModel.CUSTOM,)))
    chosen = [choice for choice in entry.choices if choice not in hidden]
    return [(str(choice), choice if isinstance(choice, int) else str(choice)) for choice in chosen]


def is_local_only(entry: Setting) -> bool:
    """Whether a setting is for the user of this machine: it names a file of it, or replaces some."""
    return entry.is_path or entry.name == OVERWRITE

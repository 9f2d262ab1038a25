"""A form made from a settings dataclass: a control for each field, with its name, type and default."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import gradio as gr

from ultimate_rvc.errors import SettingError
from ultimate_rvc.web.texts import Texts


@dataclass(frozen=True)
class FieldForm:
    """Controls of one dataclass, with the type of each field."""

    names: Sequence[str]
    types: Sequence[type[Any]]
    components: Sequence[Any]
    defaults: Sequence[Any]

    def show(self, given: Mapping[str, Any]) -> list[Any]:
        """The components' values for some of the fields; the others have their defaults."""
        return [given.get(name, default) for name, default in zip(self.names, self.defaults, strict=True)]

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """The fields as plain values; an empty box of a number is left out, so that its default holds.

        Raises
        ------
        SettingError
            A value of another type, which no control of the page gives.
        """
        read: dict[str, Any] = {}
        for name, kind, value in zip(self.names, self.types, values, strict=True):
            if value is None:
                continue
            try:
                read[name] = str(value) if issubclass(kind, str) else kind(value)
            except (TypeError, ValueError):
                raise SettingError(f"{name} is {value!r}, which it cannot be.") from None
        return read


def lay_out_fields(
    kind: type[Any], texts: Texts, leave_out: Collection[str], defaults: Mapping[str, Any]
) -> FieldForm:
    """Put a control for each field of ``kind`` where the layout stands.

    Its texts are ``field.<name>.label`` and ``field.<name>.info``. Ranges are those of the dataclass, which
    checks them when the settings are used.
    """
    hints = get_type_hints(kind)
    names, types, components, usual = [], [], [], []
    for entry in fields(kind):
        if entry.name in leave_out:
            continue
        plain = _without_none(hints[entry.name])
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        names.append(entry.name)
        types.append(plain)
        usual.append(defaults.get(entry.name, default))
        components.append(_control(entry.name, plain, usual[-1], texts))
    return FieldForm(names, types, components, usual)


def _without_none(hint: Any) -> type[Any]:
    if get_origin(hint) in (Union, UnionType):
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        return inner  # type: ignore[no-any-return]
    return hint  # type: ignore[no-any-return]


def _control(name: str, kind: type[Any], default: Any, texts: Texts) -> Any:
    words: Any = {"label": texts(f"field.{name}.label"), "info": texts(f"field.{name}.info")}
    if issubclass(kind, bool):
        return gr.Checkbox(default, **words)
    if issubclass(kind, StrEnum):
        choices = [word.value for word in kind if word.value not in ("custom", "tiny")]
        return gr.Dropdown(choices, value=str(default), **words)
    if issubclass(kind, int | float):
        # Without a placeholder an empty box would show 0.
        return gr.Number(default, precision=0 if issubclass(kind, int) else None, placeholder="-", **words)
    return gr.Textbox(default, max_lines=1, **words)

"""Settings are data: what a setting holds, its range, unit and words stand once, beside its default.

A settings class is a frozen dataclass whose fields are made by :func:`setting` and whose ``__post_init__``
calls :func:`check`. All doors are derived from that: options of the command line, controls of the page, keys of
settings files, the schema for programs and the tables of the docs.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from ultimate_rvc.errors import SettingError

REQUIRED = object()
_KEY = "setting"
JSON_TYPES = {bool: "boolean", int: "integer", float: "number"}


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What :func:`setting` keeps in a field's metadata."""

    help: str
    label: str | None
    low: float | None
    high: float | None
    step: float | None
    unit: str
    choices: Sequence[Any] | Callable[[], Sequence[Any]]
    open: bool
    variable: str
    hidden: Sequence[str]
    path: bool


def setting(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    step: float | None = None,
    unit: str = "",
    label: str | None = None,
    choices: Sequence[Any] | Callable[[], Sequence[Any]] = (),
    open: bool = False,
    variable: str = "",
    hidden: Sequence[str] = (),
    path: bool = False,
) -> Any:
    """A field of a settings class.

    Parameters
    ----------
    default : value, or a function that gives it; :data:`REQUIRED` where there is none
    help : str
        One sentence for people; the range is added where it is shown.
    low, high : number, optional
        Both belong to the range.
    step : number, optional
        The page then shows a slider.
    unit : str
        Such as ``Hz`` or ``dB``.
    label : str, optional
        Its short name on an English page; left out: made from the field's name.
    choices : values, or a function that gives them
        Where the type is no enumeration.
    open : bool
        Whether other texts are taken too, such as the user's own files: who uses the value checks it.
    variable : str
        The environment variable that sets it.
    hidden : words
        Choices that the page does not offer.
    path : bool
        Whether a text names a file or folder; a field of type Path does in any case.
    """
    facts = _Facts(
        help=help, label=label, low=low, high=high, step=step, unit=unit, choices=choices, open=open,
        variable=variable, hidden=hidden, path=path,
    )  # fmt: skip
    if default is REQUIRED:
        return field(metadata={_KEY: facts})
    if callable(default):
        return field(default_factory=default, metadata={_KEY: facts})
    return field(default=default, metadata={_KEY: facts})


@dataclass(frozen=True)
class Setting:
    """One setting as every door meets it."""

    group: str
    """Of its class, such as ``conversion``; with the name it is the key of its words."""
    name: str
    kind: type[Any]
    """bool, int, float, str, Path or an enumeration: of one value."""
    is_optional: bool
    """Whether ``None`` is a value."""
    is_list: bool
    default: Any
    facts: _Facts
    literals: tuple[str, ...] = ()
    """What it may be beside values of its kind, such as ``auto``."""

    @property
    def help(self) -> str:
        return self.facts.help

    @property
    def label(self) -> str:
        return self.facts.label or self.name.replace("_", " ").capitalize()

    @property
    def words_key(self) -> str:
        return f"{self.group}.{self.name}"

    @property
    def is_path(self) -> bool:
        """Whether it names a file or folder of this machine."""
        return self.kind is Path or self.facts.path

    @property
    def choices(self) -> tuple[Any, ...]:
        """All values there are, or the known ones where :attr:`is_open`; none where that is no short list."""
        if issubclass(self.kind, StrEnum):
            return tuple(self.kind)
        given = self.facts.choices
        return tuple(given() if callable(given) else given)

    @property
    def is_open(self) -> bool:
        """Whether it takes other texts than its :attr:`choices`."""
        return self.facts.open

    @property
    def range_text(self) -> str:
        """``0 to 1``, ``50 to 1200 Hz`` or nothing."""
        facts = self.facts
        if facts.low is None or facts.high is None:
            return ""
        return f"{facts.low:,} to {facts.high:,}".replace(",", "") + (f" {facts.unit}" if facts.unit else "")

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the value."""
        one: dict[str, Any] = {"type": JSON_TYPES.get(self.kind, "string")}
        if choices := self.choices:
            known = [value if isinstance(value, int) else str(value) for value in choices]
            one["examples" if self.is_open else "enum"] = known
        if self.facts.low is not None:
            one |= {"minimum": self.facts.low, "maximum": self.facts.high}
        if self.literals:
            one = {"anyOf": [one, {"enum": list(self.literals)}]}
        whole = _or_null({"type": "array", "items": one} if self.is_list else one, self.is_optional)
        if self.default is REQUIRED:
            return whole | {"description": self.help}
        default = list(self.default) if self.is_list else self.default
        return whole | {"description": self.help, "default": default}

    def checked(self, value: Any) -> Any:
        """``value`` as the field holds it.

        Raises
        ------
        SettingError
            It is none of the choices, outside the range, or of another type.
        """
        if value is None and self.is_optional:
            return None
        if self.is_list:
            if not value and self.default != ():
                raise SettingError(f"{self.name} is empty; name at least one{self._of_choices}.", self.name)
            return tuple(self._one(part) for part in value)
        return self._one(value)

    @property
    def _of_choices(self) -> str:
        return f" of {listed(self.choices)}" if self.choices else ""

    def _one(self, value: Any) -> Any:
        choices = self.choices
        if choices and not self.is_open:
            if value not in choices:
                raise SettingError(
                    f"{self.name} is {value}, but must be one of {listed(choices)}.", self.name
                )
            return self.kind(value) if issubclass(self.kind, StrEnum) else value
        low, high = self.facts.low, self.facts.high
        if low is not None and high is not None:
            check_range(self.name, value, low, high)
        return value


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise :class:`SettingError` naming the setting unless ``low <= value <= high`` (NaN fails)."""
    if not isinstance(value, int | float) or not low <= value <= high:
        raise SettingError(f"{name} is {value}, but must be from {low} to {high}.", name)


def listed(choices: Sequence[Any]) -> str:
    return ", ".join(map(str, choices))


def settings_of(kind: type[Any]) -> Mapping[str, Setting]:
    """The settings of a class by name, nested classes left out."""
    return _settings_of(cast(Hashable, kind))


@functools.cache
def _settings_of(kind: Any) -> dict[str, Setting]:
    hints = get_type_hints(kind)
    group = kind.__name__.removesuffix("Settings").removesuffix("Config").lower()
    found = {}
    for entry in fields(kind):
        if (facts := entry.metadata.get(_KEY)) is None:
            continue
        inner, is_optional, is_list = _taken_apart(hints[entry.name])
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        default = REQUIRED if default is MISSING else default
        literals = tuple(
            word
            for part in get_args(hints[entry.name])
            if get_origin(part) is Literal
            for word in get_args(part)
        )
        found[entry.name] = Setting(group, entry.name, inner, is_optional, is_list, default, facts, literals)
    return found


def parts_of(kind: type[Any]) -> dict[str, type[Any]]:
    """The settings classes nested in a class, by the field's name."""
    found = {}
    for entry, hint in get_type_hints(kind).items():
        inner, _, _ = _taken_apart(hint)
        if is_dataclass(inner) and entry in {each.name for each in fields(kind)}:
            found[entry] = inner
    return found


def walk(kind: type[Any], where: str = "") -> Iterator[tuple[str, Setting]]:
    """Every setting of a class and of those nested in it, with its dotted path."""
    for name, entry in settings_of(kind).items():
        yield f"{where}{name}", entry
    for name, inner in parts_of(kind).items():
        yield from walk(inner, f"{where}{name}.")


def check(settings: Any) -> None:
    """Check all values of a settings object, and replace plain words by the choices that they mean.

    Raises
    ------
    SettingError
        Naming the field.
    """
    for name, entry in settings_of(type(settings)).items():
        value = getattr(settings, name)
        checked = entry.checked(value)
        if checked is not value:
            object.__setattr__(settings, name, checked)


def schema(kind: type[Any]) -> dict[str, Any]:
    """JSON Schema of a settings class, for programs."""
    own = {name: entry.schema for name, entry in settings_of(kind).items()}
    hints = get_type_hints(kind)
    parts = {
        name: _or_null(schema(inner), _taken_apart(hints[name])[1]) for name, inner in parts_of(kind).items()
    }
    required = [name for name, entry in settings_of(kind).items() if entry.default is REQUIRED]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": own | parts,
        "required": required,
    }


def _or_null(one: dict[str, Any], is_optional: bool) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "null"}]} if is_optional else one


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted path as objects in objects."""
    result: dict[str, Any] = {}
    for path, value in values.items():
        *folders, name = path.split(".")
        place = result
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return result


def _taken_apart(hint: Any) -> tuple[type[Any], bool, bool]:
    """The type of one value, whether ``None`` is allowed, whether there are several."""
    is_optional = is_list = False
    if get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        is_optional = len(inner) < len(get_args(hint))
        hint = inner[0]
    if get_origin(hint) is tuple:
        is_list, hint = True, get_args(hint)[0]
    return (hint if isinstance(hint, type) else str), is_optional, is_list

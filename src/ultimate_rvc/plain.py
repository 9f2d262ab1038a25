"""Settings as plain values that JSON can hold, and back, with a sentence for whatever does not fit.

The dataclasses themselves say what there is: names, types, choices, nesting. Their own checks say the
ranges. So a new setting of a conversion or a cover is a setting of jobs without a line here.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ultimate_rvc.errors import SettingError

T = TypeVar("T")

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
SHOWN_LETTERS = 60
LARGEST_NUMBER = 2**64  # beyond every range, and still a float


def to_plain(value: Any) -> Any:
    """A dataclass as a dict, paths and choices as texts, tuples as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: to_plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(part) for name, part in value.items()}
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Sequence):
        return [to_plain(part) for part in value]
    return value


def from_plain(kind: type[T], given: object, where: str = "", *, leave_out: Sequence[str] = ()) -> T:
    """The dataclass ``kind`` from plain values; what is left out has its default.

    Parameters
    ----------
    given : mapping
        As :func:`to_plain` or JSON gives it.
    where : str
        The key of ``given`` in the whole, for the sentences.
    leave_out : names of dotted keys
        That are no settings here, though they are fields.

    Raises
    ------
    SettingError
        A key that is none, a value of the wrong type, a missing one, or one outside its range.
    """
    if not isinstance(given, Mapping):
        raise SettingError(f"{where or 'The settings'} must be an object with names and values.")
    known = {entry.name: entry for entry in fields(kind) if _join(where, entry.name) not in leave_out}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise SettingError(f"There is no setting {_join(where, str(name))}; {nearest(str(name), known)}")
    hints = get_type_hints(kind)
    for entry in known.values():
        if entry.name not in given and _is_required(entry):
            raise SettingError(f"{_join(where, entry.name)} is missing.", _join(where, entry.name))
    values = {
        name: _value(hints[name], value, _join(where, str(name)), leave_out) for name, value in given.items()
    }
    try:
        return kind(**values)
    except SettingError as error:  # which knows its fields, but not where they stand in the whole
        error.rename_fields({field: _join(where, field) for field in error.fields})
        raise


def merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` with ``changes``: objects are merged name by name, everything else is replaced."""
    result = dict(old)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = merged(before, value)
        result[name] = value
    return result


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def nearest(name: str, known: Iterable[str]) -> str:
    """The way out of a misspelt name."""
    alike = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {alike[0]!r}?" if alike else f"choose from {', '.join(known)}."


def _value(kind: Any, given: Any, where: str, leave_out: Sequence[str]) -> Any:
    """``given`` as the type ``kind`` wants it."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind, given, where, leave_out)
    if origin is tuple:
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise SettingError(f"{where} must be a list.", where)
        inner = get_args(kind)[0]
        return tuple(_value(inner, part, f"{where}[{i}]", leave_out) for i, part in enumerate(given))
    if origin is Literal:
        return _choice(given, get_args(kind), where)
    if isinstance(kind, type) and is_dataclass(kind):
        return from_plain(kind, given, where, leave_out=leave_out)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(_choice(given, [str(member) for member in kind], where))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(given, Mapping):
            raise SettingError(f"{where} must be an object with names and values.")
        return dict(given)
    return _single(kind, given, where)


def _optional(kind: Any, given: Any, where: str, leave_out: Sequence[str]) -> Any:
    kinds = [part for part in get_args(kind) if part is not type(None)]
    if given is None and type(None) in get_args(kind):
        return None
    for part in kinds[:-1]:  # such as ``int | Literal["auto"]``: the first that fits
        try:
            return _value(part, given, where, leave_out)
        except SettingError:
            continue
    return _value(kinds[-1], given, where, leave_out)


def _choice(given: Any, choices: Sequence[Any], where: str) -> Any:
    if given not in choices:
        raise SettingError(
            f"{where} is {_shown(given)}, but must be one of {', '.join(map(str, choices))}.", where
        )
    return given


def _single(kind: Any, given: Any, where: str) -> Any:
    """A number, text, switch or path; a page's slider says 3.0 for 3."""
    fits = {
        bool: isinstance(given, bool),
        int: _is_number(given) and float(given).is_integer(),
        float: _is_number(given),
        str: isinstance(given, str) and "\0" not in given,
        Path: isinstance(given, str | Path) and bool(str(given).strip()) and "\0" not in str(given),
    }
    if not fits[kind]:
        raise SettingError(f"{where} is {_shown(given)}, but must be {WORDS[kind]}.", where)
    return absolute(given) if kind is Path else kind(given)


def absolute(path: str | Path) -> Path:
    """Whatever folder the server that does the job was started in."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:  # ``~nobody``: there is no such home
        return Path(path).absolute()


def _is_number(given: object) -> bool:
    if isinstance(given, float):
        return math.isfinite(given)
    return isinstance(given, int) and not isinstance(given, bool) and abs(given) < LARGEST_NUMBER


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}..."

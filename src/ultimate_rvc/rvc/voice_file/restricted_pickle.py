"""Pickles read as data: plain values come out, and no name in them is ever imported or called.

Python's own unpickler imports every name a pickle mentions and calls what it is told to call; even
with an allow list it can be talked into large memory by one opcode. This reader walks the opcodes
itself (``pickletools.genops`` only decodes them), knows a short list of them, and looks names up in
a table of functions that the caller wrote. A name outside the table ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

# A training checkpoint with its optimizer needs under 1 MB of opcodes; each byte of a hostile
# pickle can make an object of about 70 bytes, so callers pass at most this many.
MAX_PICKLE_BYTES = 4 << 20
MAX_INTEGER = 2**80  # the magic number of torch's older files has 77 bits
MAX_KEY = 2**31  # integer keys hash to themselves: crafted large ones could make a dict crawl
# Optimizers of torch before 1.5 name weights by their addresses; few such keys make no dict crawl.
MAX_ADDRESS, MAX_ADDRESSES = 2**48, 1024
DAMAGED = "is cut off or damaged"


class RefusedPickleError(ValueError):
    """A pickle that is damaged or asks for more than plain data; the text follows a file's name."""


class ForbiddenNameError(RefusedPickleError):
    """A pickle that names a function or class outside the table."""

    def __init__(self, name: str) -> None:
        super().__init__(f"asks to run {name}; refused, nothing in the file was run")
        self.name = name


Rebuild = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Name:
    """A function or class that a pickle mentions by its qualified name: only the name, never the thing."""

    qualified: str


class _Mark:
    pass


_MARK = _Mark()

_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_INTEGERS = ("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4")
_TEXTS = ("BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_OTHERS = ("FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
_ARGUMENT_IS_VALUE = frozenset(_INTEGERS + _TEXTS + _OTHERS)
_NO_EFFECT = frozenset(["PROTO", "FRAME", "STOP"])


class PickleReader:
    """Reads one pickle.

    ``rebuild`` has the qualified names a pickle may mention, with the functions that stand for them; ``None``
    allows a name to be mentioned but not to be called. ``load_persistent`` turns a persistent id (torch: a
    storage) into a value.
    """

    def __init__(
        self, rebuild: Mapping[str, Rebuild | None], load_persistent: Callable[[object], object]
    ) -> None:
        self._rebuild = rebuild
        self._load_persistent = load_persistent
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self.names: set[str] = set()
        """Every qualified name that the pickle mentioned."""

    def read(self, stream: BinaryIO) -> object:
        """The value of the pickle that starts at the stream's position, which ends up behind it.

        Raises
        ------
        RefusedPickleError
            It is damaged, or asks for anything but plain containers and names in the table.
        """
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                self._step(opcode.name, argument)
            (value,) = self._stack
        except RefusedPickleError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, DeprecationWarning) as error:
            # The opcodes ended early, popped an empty stack or carried impossible arguments (Python
            # may be told to raise the warning it has for bad escapes in text).
            raise RefusedPickleError(DAMAGED) from error
        if isinstance(value, _Mark):
            raise RefusedPickleError(DAMAGED)
        return value

    def _step(self, name: str, argument: object) -> None:
        stack = self._stack
        if name in _ARGUMENT_IS_VALUE:
            stack.append(_checked_scalar(argument))
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[_index(argument)] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[_index(argument)])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("GLOBAL", "STACK_GLOBAL", "INST"):
            self._mention(name, argument)
        elif name == "REDUCE":
            self._call()
        elif name == "BUILD":
            self._set_state()
        elif name == "BINPERSID":
            stack.append(self._load_persistent(self._pop()))
        elif name not in _NO_EFFECT:
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Opcodes that make containers and fill them."""
        stack = self._stack
        if name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self._pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name == "LIST":
            stack.append(self._pop_to_mark())
        elif name == "DICT":
            stack.append(_fill_dict({}, self._pop_to_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = [self._pop()] if name == "APPEND" else self._pop_to_mark()
            _open_list(self._top()).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [self._pop(), self._pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
            _fill_dict(_open_dict(self._top()), items)
        else:
            raise RefusedPickleError(f"uses the pickle operation {name}; refused, voices need none")

    def _mention(self, name: str, argument: object) -> None:
        if name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            if not (isinstance(attribute, str) and isinstance(module, str)):
                raise RefusedPickleError(DAMAGED)
            qualified = f"{module}.{attribute}"
        else:
            qualified = str(argument).replace(" ", ".")
        # INST calls at once what it names: the name is refused even where GLOBAL would allow it.
        if name == "INST" or qualified not in self._rebuild:
            raise ForbiddenNameError(_printable(qualified))
        self.names.add(qualified)
        self._stack.append(Name(qualified))

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        rebuild = self._rebuild.get(function.qualified) if isinstance(function, Name) else None
        if rebuild is None or not isinstance(arguments, tuple):
            called = function.qualified if isinstance(function, Name) else f"a {type(function).__name__}"
            raise RefusedPickleError(f"calls {called} like a function; refused, nothing was run")
        self._stack.append(rebuild(*arguments))

    def _set_state(self) -> None:
        """BUILD gives state to a rebuilt value, if that has an ``accept_state``."""
        state, target = self._pop(), self._top()
        accept = getattr(target, "accept_state", None)
        if accept is None:
            raise RefusedPickleError(f"sets the state of a {type(target).__name__}; refused")
        accept(state)

    def _top(self) -> object:
        value = self._stack[-1]
        if isinstance(value, _Mark):
            raise RefusedPickleError(DAMAGED)
        return value

    def _pop(self) -> object:
        value = self._top()
        self._stack.pop()
        return value

    def _pop_to_mark(self) -> list[object]:
        stack = self._stack
        start = len(stack) - 1
        while not isinstance(stack[start], _Mark):
            start -= 1
            if start < 0:
                raise RefusedPickleError(DAMAGED)
        items = stack[start + 1 :]
        del stack[start:]
        return items


def _checked_scalar(value: object) -> object:
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        raise RefusedPickleError("holds an integer of more than 80 bits; refused")
    return value


def _index(argument: object) -> int:
    if not isinstance(argument, int):
        raise RefusedPickleError(DAMAGED)
    return argument


def _open_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise RefusedPickleError(f"appends to a {type(value).__name__}; refused")
    return value


def _open_dict(value: object) -> dict[object, object]:
    if not isinstance(value, dict):
        raise RefusedPickleError(f"sets items of a {type(value).__name__}; refused")
    return value


def _fill_dict(target: dict[object, object], items: list[object]) -> dict[object, object]:
    if len(items) % 2:
        raise RefusedPickleError(DAMAGED)
    for key, value in zip(items[::2], items[1::2], strict=True):
        # A nested tuple as a key could take forever to hash, so keys are plain.
        if not (isinstance(key, str) or (isinstance(key, int) and _is_harmless(key, target))):
            raise RefusedPickleError(
                f"uses a key of type {type(key).__name__} that voices never use; refused"
            )
        target[key] = value
    return target


def _is_harmless(key: int, target: dict[object, object]) -> bool:
    return abs(key) <= MAX_KEY or (0 < key < MAX_ADDRESS and len(target) < MAX_ADDRESSES)


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:100])

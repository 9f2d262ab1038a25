"""Progress and cancellation of long work, in one object; how long its steps took."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.errors import CancelledError

ProgressCallback = Callable[[str, float, str], None]


class Progress:
    """Reports ``(step, fraction, text)`` to a callback and carries the wish to cancel.

    ``fraction`` is that of the named step, 0 to 1. ``report`` and ``check`` raise
    :class:`CancelledError` once :meth:`cancel` was called, from whatever thread.
    """

    def __init__(
        self, callback: ProgressCallback | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self._callback, self._say = callback, say
        self._cancelled = threading.Event()

    def report(self, step: str, fraction: float, text: str = "") -> None:
        self.check()
        if self._callback is not None:
            self._callback(step, min(max(fraction, 0.0), 1.0), text)

    def say(self, sentence: str) -> None:
        """Tell a person something that is good to know before long work."""
        if self._say is not None:
            self._say(sentence)

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError("The job was cancelled.")

    def part(self, step: str, start: float, end: float) -> Progress:
        """A view in which 0 to 1 means ``start`` to ``end`` of the step ``step``."""
        return _PartOfProgress(self, step, start, end)

    def piece(self, number: int, count: int) -> Progress:
        """A view for piece ``number`` of ``count`` equal ones: 0 to 1 of every step is its share of that step."""
        return self if count == 1 else _PieceOfProgress(self, number, count)


class ViewOfProgress(Progress):
    """Passes everything on to ``parent`` but what is reported."""

    def __init__(self, parent: Progress) -> None:
        super().__init__()
        self._parent = parent

    def say(self, sentence: str) -> None:
        self._parent.say(sentence)

    def cancel(self) -> None:
        self._parent.cancel()

    def check(self) -> None:
        self._parent.check()


class _PartOfProgress(ViewOfProgress):
    def __init__(self, parent: Progress, step: str, start: float, end: float) -> None:
        super().__init__(parent)
        self._step, self._start, self._end = step, start, end

    def report(self, step: str, fraction: float, text: str = "") -> None:
        span = self._end - self._start
        self._parent.report(self._step, self._start + span * fraction, text or step)


class _PieceOfProgress(ViewOfProgress):
    def __init__(self, parent: Progress, number: int, count: int) -> None:
        super().__init__(parent)
        self._number, self._count = number, count

    def report(self, step: str, fraction: float, text: str = "") -> None:
        counted = f"{self._number + 1}/{self._count}"
        done = (self._number + fraction) / self._count
        self._parent.report(step, done, f"{text} ({counted})" if text else counted)


@dataclass(frozen=True)
class StepTime:
    """How long a step took, whether it was found in the cache, and its files."""

    name: str
    seconds: float
    cached: bool = False
    files: tuple[Path, ...] = ()

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


class _PartOfProgress(Progress):
    def __init__(self, parent: Progress, step: str, start: float, end: float) -> None:
        super().__init__()
        self._parent, self._step, self._start, self._end = parent, step, start, end

    def report(self, step: str, fraction: float, text: str = "") -> None:
        span = self._end - self._start
        self._parent.report(self._step, self._start + span * fraction, text or step)

    def say(self, sentence: str) -> None:
        self._parent.say(sentence)

    def cancel(self) -> None:
        self._parent.cancel()

    def check(self) -> None:
        self._parent.check()


@dataclass(frozen=True)
class StepTime:
    """How long a step took, whether it was found in the cache, and its files."""

    name: str
    seconds: float
    cached: bool = False
    files: tuple[Path, ...] = ()

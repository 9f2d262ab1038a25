"""How a person ends a training early: Ctrl-C, or the cancel button behind a ``Progress``."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ultimate_rvc.errors import CancelledError
from ultimate_rvc.progress import Progress

log = logging.getLogger(__name__)

# SIGTERM is what a cluster or the system sends when it wants its machine back.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Whether somebody wants the training to save and end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._signalled = threading.Event()

    @property
    def is_there(self) -> bool:
        try:
            self._progress.check()
        except CancelledError:
            return True
        return self._signalled.is_set()

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.warning("%s: the training saves and ends after this step.", signal.Signals(number).name)
        self._signalled.set()


@contextmanager
def stop_wishes(progress: Progress) -> Iterator[StopWish]:
    """Within, the first Ctrl-C only leaves a wish; the second does what it always does.

    Signals can be listened to in the main thread alone; in another, the progress object is the way.
    """
    wish = StopWish(progress)
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def first(number: int, frame: FrameType | None) -> None:
        restore()
        wish.on_signal(number, frame)

    for number in SIGNALS:
        signal.signal(number, first)
    try:
        yield wish
    finally:
        restore()

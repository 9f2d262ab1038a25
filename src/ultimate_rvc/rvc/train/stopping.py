"""How a person ends a training early: Ctrl-C, or the cancel button behind a ``Progress``."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ultimate_rvc.errors import CancelledError
from ultimate_rvc.progress import Progress

log = logging.getLogger(__name__)

# SIGTERM is what a cluster or the system sends when it wants its machine back.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# One Ctrl-C reaches a launched process twice: from the terminal, and from the launcher that passes it on.
ECHO_SECONDS = 2.0


class StopWish:
    """Whether somebody wants the training to save and end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._signalled_at: float | None = None

    @property
    def is_there(self) -> bool:
        try:
            self._progress.check()
        except CancelledError:
            return True
        return self._signalled_at is not None

    def hear(self, number: int) -> bool:
        """Take note of a signal; False when it is one too many, and is to end the process at once."""
        now = time.monotonic()
        if self._signalled_at is None:
            log.warning("%s: the training saves and ends after this step.", signal.Signals(number).name)
            self._signalled_at = now
        return now - self._signalled_at <= ECHO_SECONDS


@contextmanager
def stop_wishes(progress: Progress) -> Iterator[StopWish]:
    """Within, the first Ctrl-C only leaves a wish; another one does what it always does.

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

    def listen(number: int, _frame: FrameType | None) -> None:
        if not wish.hear(number):
            restore()
            signal.raise_signal(number)

    for number in SIGNALS:
        signal.signal(number, listen)
    try:
        yield wish
    finally:
        restore()

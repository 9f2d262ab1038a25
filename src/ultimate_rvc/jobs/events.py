"""What changed, for pages: any number of them, none of which can hold up the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ultimate_rvc.jobs.model import Job


class Subscription:
    """The jobs that changed since they were last asked for, each once, as it stands by now.

    A page that asks seldom gets fewer, newer ones: nothing piles up. Use it in a ``with`` block, or
    close it.
    """

    def __init__(self, client: str | None, forget: Callable[[Subscription], None]) -> None:
        self._client, self._forget = client, forget
        self._changed: dict[int, Job] = {}
        self._condition = threading.Condition()
        self._closed = False

    def wait(self, seconds: float | None = None) -> list[Job]:
        """Jobs that changed, oldest change first; waits for one at most ``seconds``, then gives none.

        Once it is closed, or the queue is, it gives none at once.
        """
        end = None if seconds is None else time.monotonic() + seconds
        with self._condition:
            while not self._changed and not self._closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._condition.wait(left)
            changed = list(self._changed.values())
            self._changed.clear()
            return changed

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._forget(self)
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def tell(self, job: Job) -> None:
        """For the queue."""
        if self._client is not None and job.client != self._client:
            return
        with self._condition:
            self._changed.pop(job.id, None)
            self._changed[job.id] = job
            self._condition.notify_all()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Batches made ready ahead of the step that needs them, by a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # results that lie ready: what one slow read takes is then hidden behind three steps


class Feed(Generic[Item, Result]):
    """Iterates over ``make(item)`` for each item, made ahead of time; an error in ``make`` is raised here.

    ``waited_seconds`` is the time the consumer has spent waiting for a result. One thread is enough:
    a batch is copied out of memory maps, which is many times quicker than a step.
    """

    def __init__(self, items: Iterable[Item], make: Callable[[Item], Result]) -> None:
        self.waited_seconds = 0.0
        self._ready: queue.Queue[tuple[list[Result], BaseException | None]] = queue.Queue(maxsize=AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(iter(items), make), name="training data", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Result]:
        while True:
            start = time.perf_counter()
            results, error = self._ready.get()
            self.waited_seconds += time.perf_counter() - start
            if error is not None:
                raise error
            if not results:
                return
            yield results[0]

    def close(self) -> None:
        """Stop the thread; what lies ready is dropped."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._ready.get_nowait()
            except queue.Empty:
                self._thread.join(timeout=0.01)

    def _work(self, items: Iterator[Item], make: Callable[[Item], Result]) -> None:
        try:
            for item in items:
                if self._closed.is_set():
                    return
                self._ready.put(([make(item)], None))
        except BaseException as error:  # it belongs to the consumer, whatever it is
            self._ready.put(([], error))
        else:
            self._ready.put(([], None))

"""A live conversion beside a clock: a thread that converts, what waits on either side, and what came too late."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # it brings torch, which a page does not need before somebody speaks
    from ultimate_rvc.rvc.infer.live import LiveConverter

MOST_WAITING = 2  # blocks; with more, the delay would grow and never shrink again
RECENT_BLOCKS = 20  # whose load is shown

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class LiveFigures:
    """How a session is doing."""

    blocks: int
    """That were converted."""
    load: float
    """Time to convert the last blocks, as a share of their length: above 1 it cannot keep up."""
    highest_load: float
    skipped: int
    """Blocks that came while too many waited, and were thrown away."""


class LoadMeter:
    """How long blocks took; told by whoever converts them."""

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        self._recent: deque[float] = deque(maxlen=RECENT_BLOCKS)
        self._blocks = 0
        self._highest = 0.0

    def note(self, seconds: float) -> None:
        """A block took so long."""
        load = seconds / self._block_seconds
        self._recent.append(load)
        self._highest = max(self._highest, load)
        self._blocks += 1

    def figures(self, skipped: int = 0) -> LiveFigures:
        recent = list(self._recent)
        load = sum(recent) / len(recent) if recent else 0.0
        return LiveFigures(self._blocks, load, self._highest, skipped)


class LiveSession:
    """Converts in a thread of its own what :meth:`put` is given, and hands each block to ``deliver`` there.

    ``record`` is given each converted block as well, for a file.
    """

    def __init__(
        self,
        converter: LiveConverter,
        deliver: Callable[[FloatArray], None],
        record: Callable[[FloatArray], None] | None = None,
    ) -> None:
        self._converter, self._deliver, self._record = converter, deliver, record
        self._incomplete = np.zeros(0, np.float32)
        self._waiting: deque[FloatArray] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._meter = LoadMeter(converter.block_seconds)
        self._skipped = 0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="live conversion", daemon=True)
        self._thread.start()

    def put(self, samples: FloatArray) -> None:
        """Take float32 ``(samples,)`` of any length at the converter's input rate; never waits for a conversion."""
        self._incomplete = np.concatenate((self._incomplete, samples))
        size = self._converter.block_samples
        while len(self._incomplete) >= size:
            block, self._incomplete = self._incomplete[:size], self._incomplete[size:]
            with self._changed:
                self._waiting.append(block)
                if len(self._waiting) > MOST_WAITING:
                    self._waiting.popleft()
                    self._skipped += 1
                self._changed.notify()

    def figures(self) -> LiveFigures:
        return self._meter.figures(self._skipped)

    def check(self) -> None:
        """Raise what ended the conversion, if anything did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End it after the blocks that wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while (block := self._next()) is not None:
                began = time.perf_counter()
                converted = self._converter.convert_block(block)
                self._meter.note(time.perf_counter() - began)
                self._deliver(converted)
                if self._record is not None:
                    self._record(converted)
        except Exception as error:  # told by whoever asks, in a thread that can
            self._failure = error

    def _next(self) -> FloatArray | None:
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None


class Outlet:
    """Sound that waits to be played: given out in pieces of any length, silence where there is none.

    It begins with ``reserve`` samples of silence, and does so again after a gap: that is how much later than the
    first a block may come. Where more than ``block`` samples wait beyond that, the oldest are thrown away: the
    delay of a moment in which the machine was busy would stay for ever.
    """

    def __init__(self, block: int, reserve: int) -> None:
        self._most, self._reserve = 2 * block + reserve, reserve
        self._waiting = np.zeros(0, np.float32)
        self._lock = threading.Lock()
        self._is_playing = False
        self.drop_outs = 0
        """How often there was nothing left to play, or too much."""

    def put(self, samples: FloatArray) -> None:
        """Take float32 ``(samples,)``."""
        with self._lock:
            if not self._is_playing:
                self._waiting = np.zeros(self._reserve, np.float32)
                self._is_playing = True
            self._waiting = np.concatenate((self._waiting, samples))
            if len(self._waiting) > self._most:
                self._waiting = self._waiting[len(samples) :]
                self.drop_outs += 1

    def take(self, count: int) -> FloatArray:
        """The next float32 ``(count,)``."""
        given = np.zeros(count, np.float32)
        with self._lock:
            part, self._waiting = self._waiting[:count], self._waiting[count:]
            if self._is_playing and len(part) < count:
                self._is_playing = False
                self.drop_outs += 1
        given[: len(part)] = part
        return given

"""Work that somebody waits for: requests for one voice together, clients in turn, none lost with a worker.

A process of its own does it, beside that of the jobs: who waits for a sentence does not wait for a song. Nothing
is written down, because who asked is still there. What a worker was doing when it died is done again by another,
each request alone, so that one which kills workers costs no other.
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.jobs.schedule import FairOrder
from ultimate_rvc.jobs.worker_process import WorkerGoneError, WorkerProcess
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.work.result import WorkResult
from ultimate_rvc.work.short import TABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05  # how often it is looked whether anybody still waits
MOST_DEATHS = 2
CLOSING = "The server is closing; ask again when it runs."
USUAL_SECONDS = 1.0  # of a request, before any was measured
NEWEST_SHARE = 0.2  # of the latest request in the mean


@dataclass(frozen=True)
class Sound:
    """What came of a request: float32 ``(samples,)``, or a file with it."""

    waveform: FloatArray | None
    sample_rate: int
    result: WorkResult


@dataclass(eq=False)
class ShortRequest:
    """One of those that are waited for; :attr:`sound` is what it waits for."""

    kind: str
    """Of :data:`~ultimate_rvc.work.short.SHORT_KINDS`."""
    settings: Mapping[str, Any]
    client: str
    folder: Path
    """Of its own, with its files; whoever asked removes it."""
    source: Path | None = None
    """What is converted; it is no part of :attr:`settings`, so that requests can be told alike."""
    sound: Future[Sound] = field(default_factory=Future)
    deaths: int = 0
    """How many workers died over it alone."""
    is_suspect: bool = False
    """Whether a worker died over it and others: it is done alone."""

    @property
    def likeness(self) -> str:
        """The same for requests that can be done together."""
        if self.source is None:
            return f"alone {id(self)}"
        return json.dumps([self.kind, self.settings], sort_keys=True)

    @property
    def work_folder(self) -> Path:
        """Where portions can be heard while it is done."""
        return self.folder / "work"


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How many requests are done together where that gains anything, and how long the first waits."""

    size: int = 8
    window_seconds: float = 0.02


class ShortWork:
    """Does requests in a worker process, which keeps its voices open.

    Parameters
    ----------
    folder : Path
        For what is unfinished.
    device : str
        For requests that name none.
    idle_seconds : float
        After so long without a request the worker ends, and gives its memory back.
    told : function
        Is given the number of requests of each batch, and its result.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = Device.AUTO,
        batching: Batching | None = None,
        idle_seconds: float = 600.0,
        table: str = TABLE,
        told: Callable[[int, WorkResult], None] = lambda count, result: None,
    ) -> None:
        self._folder, self._device, self._table, self._told = folder, device, table, told
        self._batching, self._idle_seconds = batching or Batching(), idle_seconds
        self._shares_batches = False  # until a worker says that its device gains from it
        self._changed = threading.Condition()
        self._order, self._waiting = FairOrder(), dict[int, ShortRequest]()
        self._again: deque[ShortRequest] = deque()
        self._numbers = itertools.count(1)
        self._worker: WorkerProcess | None = None
        self._is_closing, self._is_over = False, False
        self.mean_seconds = USUAL_SECONDS
        """Of a request, for those who are to come again later."""
        self._thread = threading.Thread(target=self._run, daemon=True, name="short work")
        self._thread.start()

    @property
    def worker_pid(self) -> int | None:
        worker = self._worker
        return worker.pid if worker else None

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._changed:
            return len(self._waiting) + len(self._again)

    def submit(self, request: ShortRequest) -> Future[Sound]:
        """Take a request in; its future fails with an :class:`~ultimate_rvc.errors.UltimateRVCError`.

        Raises
        ------
        ApiError
            The server is closing.
        """
        with self._changed:
            if self._is_closing:
                raise ApiError(503, CLOSING)
            number = next(self._numbers)
            self._waiting[number] = request
            self._order.add(request.client, number)
            self._changed.notify_all()
        return request.sound

    def close(self, patience_seconds: float = 0.0) -> None:
        """Take nothing more in, finish what is here within ``patience_seconds``, and tell the rest."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(patience_seconds)
        with self._changed:
            self._is_over = True
            left = [*self._again, *self._waiting.values()]
            self._again.clear()
            self._waiting.clear()
            while self._order.take() is not None:
                pass
        for request in left:
            fail(request, ApiError(503, CLOSING))
        self._thread.join()

    # ----------------------------------------------------------------- whose turn it is

    def _run(self) -> None:
        while batch := self._next_batch():
            self._do(batch)
        self._end_worker()

    def _next_batch(self) -> list[ShortRequest]:
        """Those that are done next; none when it is closing and nothing waits."""
        with self._changed:
            while not (batch := self._taken()):
                if self._is_closing:
                    return []
                woken = self._changed.wait(self._idle_seconds if self._worker else None)
                if not woken and self._worker is not None:
                    self._end_worker()
            if self._shares_batches and not batch[0].is_suspect:
                self._fill(batch)
            return batch

    def _taken(self) -> list[ShortRequest]:
        """The first in turn that is still wanted."""
        while self._again:
            if not (request := self._again.popleft()).sound.done():
                return [request]
        while (number := self._order.take()) is not None:
            if (request := self._waiting.pop(number)).sound.set_running_or_notify_cancel():
                return [request]
        return []

    def _fill(self, batch: list[ShortRequest]) -> None:
        """Add others like the first, as they come within the window."""
        likeness = batch[0].likeness
        end = time.monotonic() + self._batching.window_seconds
        while len(batch) < self._batching.size:
            number = self._order.take(lambda waiting: self._waiting[waiting].likeness == likeness)
            if number is not None:
                if (request := self._waiting.pop(number)).sound.set_running_or_notify_cancel():
                    batch.append(request)
            elif (left := end - time.monotonic()) <= 0 or self._is_closing:
                return
            else:
                self._changed.wait(left)

    # ------------------------------------------------------------------------ doing it

    def _do(self, batch: Sequence[ShortRequest]) -> None:
        # A folder of the first request would go with it, before the others have their sound.
        is_alone = batch[0].source is None
        folder = batch[0].work_folder if is_alone else self._folder / f"batch {next(self._numbers)}"
        started = time.monotonic()
        try:
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that died
            folder.mkdir(parents=True)
            message = self._ask(batch, folder)
            self._give(batch, message, folder)
        except WorkerGoneError as gone:
            self._worker = None
            self._do_again(batch, gone)
        except Exception as error:  # whatever it is, whoever waits must hear of it
            if not isinstance(error, UltimateRVCError):
                log.exception("Short work failed")
            for request in batch:
                fail(request, error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.took((time.monotonic() - started) / len(batch))

    def took(self, seconds: float) -> None:
        """A request took so long, here or elsewhere."""
        self.mean_seconds += NEWEST_SHARE * (seconds - self.mean_seconds)

    def _ask(self, batch: Sequence[ShortRequest], folder: Path) -> dict[str, Any]:
        """The last word of the worker on a batch.

        Raises
        ------
        WorkerGoneError
            It died.
        """
        if self._worker is None:
            self._worker = WorkerProcess(self._table)
        worker, number = self._worker, next(self._numbers)
        settings = dict(batch[0].settings)
        if batch[0].source is not None:
            settings["sources"] = [str(request.source) for request in batch]
        order = {"id": number, "kind": batch[0].kind, "settings": settings}
        worker.send({"run": order | {"device": self._device, "folder": str(folder)}})
        is_wanted = True
        while (message := worker.receive(POLL_SECONDS)) is None or "progress" in message:
            if self._is_over:
                self._end_worker()
                raise ApiError(503, CLOSING)
            if is_wanted and all(request.sound.done() for request in batch):
                is_wanted = False
                worker.send({"cancel": number})
        return message

    def _give(self, batch: Sequence[ShortRequest], message: Mapping[str, Any], folder: Path) -> None:
        if "cancelled" in message:
            raise ApiError(503, CLOSING)
        if "failed" in message:
            raise ApiError(500 if message["is_bug"] else 422, message["failed"])
        result = WorkResult.from_dict(message["done"])
        self._shares_batches = bool(result.facts.get("shares_batches"))
        self._told(len(batch), result)
        rate = result.facts["sample_rate"]
        if batch[0].source is None:
            hand_over(batch[0], Sound(None, rate, result))
            return
        import numpy as np

        for place, (request, error) in enumerate(zip(batch, result.facts["errors"], strict=True)):
            if error is not None:
                fail(request, ApiError(422, error, "audio"))
            else:
                hand_over(request, Sound(np.load(folder / f"{place}.npy"), rate, result))

    def _do_again(self, batch: Sequence[ShortRequest], gone: WorkerGoneError) -> None:
        for request in batch:
            request.is_suspect = True
            request.deaths += len(batch) == 1
            with self._changed:
                if self._is_over:
                    fail(request, ApiError(503, CLOSING))
                elif request.deaths < MOST_DEATHS:
                    log.warning("The worker died with %d; its request is done again.", gone.exit_code)
                    self._again.append(request)
                else:
                    fail(request, ApiError(500, gone.sentence))

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


def give_up(request: ShortRequest) -> None:
    """Nobody waits for it any more."""
    if not request.sound.cancel():
        fail(request, ApiError(503, "Nobody waits for it."))


def hand_over(request: ShortRequest, sound: Sound) -> None:
    """Give whoever waits what came of it."""
    with suppress(Exception):  # given up meanwhile
        request.sound.set_result(sound)


def fail(request: ShortRequest, error: Exception) -> None:
    """Tell whoever waits why nothing comes of it."""
    with suppress(Exception):  # given up meanwhile
        if not request.sound.done():
            request.sound.set_exception(error)

"""Every window of a job converted: in batches, in halves when memory is short, again when in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ultimate_rvc.device import is_out_of_memory, out_of_memory_error, release_cached_memory
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.chunks import SAMPLE_RATE
from ultimate_rvc.rvc.infer.optimization.batching import automatic_batch_size, plan_batches
from ultimate_rvc.rvc.infer.optimization.precision import FiniteWindows, Precision, float32_arithmetic
from ultimate_rvc.rvc.infer.optimization.several_devices import in_parallel, threads_each
from ultimate_rvc.rvc.infer.retrieval import Retriever
from ultimate_rvc.rvc.infer.vocal_features import Stage
from ultimate_rvc.rvc.infer.windows import Recording, Window, halve_window, windows_on
from ultimate_rvc.switches import AUTO_BATCH

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class ConvertBatch(Protocol):
    """Encoder, retrieval and synthesizer on a batch of windows."""

    def __call__(
        self, windows: Sequence[Window], *, exact: bool = False, recompute: bool = False
    ) -> list[Tensor]:
        """Return the converted windows, float32 ``(samples,)`` at the voice's rate.

        ``exact``: search the index at once for neighbours that rounding may have hidden. ``recompute``: take
        no features from memory, they may be wrong.
        """
        ...


Compute = Callable[[Sequence[Window]], Sequence[Tensor]]


@dataclass(frozen=True, eq=False)
class Lane:
    """A device with its networks."""

    device: torch.device
    convert: ConvertBatch
    precision: Precision
    retriever: Retriever | None
    _here: WeakKeyDictionary[Recording, Recording] = field(default_factory=WeakKeyDictionary)
    """Recordings of other devices, as they are on this one."""

    def forget_doubts(self) -> None:
        if self.retriever is not None:
            self.retriever.forget_doubts()

    @property
    def needs_exact(self) -> bool:
        """Whether the index was searched with doubts; to know it waits for the device."""
        return self.retriever is not None and bool(self.retriever.needs_exact)

    def noting(self, finite: FiniteWindows[Window], *, exact: bool) -> Compute:
        """Conversions that are noted in ``finite``, which is of this lane's precision."""

        def compute(windows: Sequence[Window]) -> list[Tensor]:
            here = windows_on(self.device, windows, self._here)
            return finite.accept(windows, self.convert(here, exact=exact))

        return compute


@dataclass(frozen=True)
class WindowDriver:
    """Converts windows into the joiners of their recordings, which are on the device of ``lane``.

    ``open_helpers`` gives the lanes of other devices; they are asked for when there is more than one window.
    ``frame_bytes`` is that of :func:`~ultimate_rvc.rvc.infer.optimization.batching.bytes_per_frame`, for
    the batch size ``auto``.
    """

    lane: Lane
    open_helpers: Callable[[], Sequence[Lane]]
    stage: Stage
    batch_size: int | Literal["auto"]
    frame_bytes: int
    skip_silence: bool

    def run(self, windows: Sequence[Window], progress: Progress) -> None:
        """Convert all windows, and once more those that were not exact or not finite."""
        lanes = [self.lane, *(self.open_helpers() if len(windows) > 1 else ())]
        for lane in lanes:
            lane.forget_doubts()
        finite = self._run_lanes(lanes, windows, progress)
        if any(lane.needs_exact for lane in lanes):
            # Nearly never: more vectors are closer together than rounding than a search looks at.
            log.info("The index holds near-duplicates; it is searched again, exactly.")
            for window in windows:
                window.recording.joiner.clear()
            finite = self._run_lanes(lanes, windows, progress, exact=True)
        failed = [window for each in finite for window in each.failed()]
        if failed:
            again = partial(self.lane.convert, exact=True, recompute=True)
            with self.lane.precision.float32():
                self._run_batches(failed, progress, [(self.lane.device, again)])

    def _run_lanes(
        self, lanes: Sequence[Lane], windows: Sequence[Window], progress: Progress, *, exact: bool = False
    ) -> list[FiniteWindows[Window]]:
        """Convert windows wherever there is room; which came out finite, for each lane."""
        finite = [lane.precision.finite_windows() for lane in lanes]
        computes = [
            (lane.device, lane.noting(own, exact=exact)) for lane, own in zip(lanes, finite, strict=True)
        ]
        self._run_batches(windows, progress, computes)
        return finite

    def _run_batches(
        self, windows: Sequence[Window], progress: Progress, computes: Sequence[tuple[torch.device, Compute]]
    ) -> None:
        total, done = max(sum(window.frames for window in windows), 1), 0
        size = self._batch_size_for(windows)
        workers = [(BatchDriver(size, device), compute) for device, compute in computes]
        progress.report("convert", 0.0)
        run = self._run_one if len(workers) == 1 else self._run_several
        with closing(run(workers, windows)) as results:
            for window, converted in results:
                with self.stage("join"):
                    window.recording.joiner.add(window.chunk, converted)
                done += window.frames
                progress.report("convert", min(done / total, 1.0))
        progress.report("convert", 1.0)

    def _run_one(
        self, workers: Sequence[tuple[BatchDriver, Compute]], windows: Sequence[Window]
    ) -> Generator[tuple[Window, Tensor]]:
        ((driver, compute),) = workers
        split = partial(self._halved, driver.device)
        return driver.run(windows, compute, frames=_frames, split=split)

    def _run_several(
        self, workers: Sequence[tuple[BatchDriver, Compute]], windows: Sequence[Window]
    ) -> Generator[tuple[Window, Tensor]]:
        """The same batches as on one device, so that the result is the same, each where there is room."""

        @torch.inference_mode()
        def work(worker: tuple[BatchDriver, Compute], batch: Sequence[Window]) -> list[tuple[Window, Tensor]]:
            return list(self._run_one([worker], batch))

        home = self.lane.device
        batches = workers[0][0].planned(list(windows), _frames)
        threads = threads_each([driver.device for driver, _ in workers])
        # The setting is the process's: so each lane finds it, and leaves it, as all of them need it.
        with float32_arithmetic(home, tf32=False):
            for results in in_parallel(workers, batches, work, threads=threads):
                yield from ((window, converted.to(home)) for window, converted in results)

    def _batch_size_for(self, windows: Sequence[Window]) -> int:
        if self.batch_size != AUTO_BATCH:
            return self.batch_size
        longest = max((window.frames for window in windows), default=1)
        return automatic_batch_size(self.lane.device, self.frame_bytes, longest)

    def _halved(self, device: torch.device, window: Window) -> list[Window]:
        """What to convert instead of a window that does not fit into memory even alone."""
        halves = halve_window(window, skip_silence=self.skip_silence)
        if halves is None:
            raise out_of_memory_error(device)
        log.warning(
            "Out of memory on %s; halving a chunk of %.1f s.", device, window.chunk.length / SAMPLE_RATE
        )
        return halves


def _frames(window: Window) -> int:
    return window.frames


class BatchDriver:
    """Runs items in batches, smaller ones once the device had no memory left. One for a whole job."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self.batch_size = batch_size
        self.device = device

    def run(
        self,
        items: Iterable[Item],
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        frames: Callable[[Item], int],
        split: Callable[[Item], Sequence[Item]] | None = None,
    ) -> Generator[tuple[Item, Result]]:
        """Compute all items, of one file or of many, and give each with its result, longest first.

        ``compute`` gives the results of one batch, in its order. It is called again with fewer items when it
        runs out of memory, so it must not change anything but what it returns. ``frames`` is the length of an
        item; ``split`` gives shorter items to compute instead of one that does not fit even alone, and raises
        when there are none. Left out, the device's error is raised.
        """
        waiting = self.planned(list(items), frames)
        while waiting:
            batch = waiting.pop(0)
            results = self._attempt(batch, compute, last_try=len(batch) == 1 and split is None)
            if results is not None:
                yield from zip(batch, results, strict=True)
                continue
            release_cached_memory(self.device)
            if len(batch) > 1:
                self._shrink(len(batch))
            elif split is not None:
                batch = list(split(batch[0]))
            waiting = self.planned([*batch, *(item for later in waiting for item in later)], frames)

    def _attempt(
        self, batch: list[Item], compute: Callable[[Sequence[Item]], Sequence[Result]], *, last_try: bool
    ) -> Sequence[Result] | None:
        """The batch's results, or None when the device has no memory left for it."""
        try:
            return compute(batch)
        except (RuntimeError, MemoryError) as error:
            # Leaving the handler frees the traceback, and with it the tensors of the failed attempt.
            if last_try or not is_out_of_memory(error):
                raise
            return None

    def _shrink(self, failed: int) -> None:
        self.batch_size = failed // 2
        log.warning(
            "Out of memory on %s with a batch of %d; trying %d.", self.device, failed, self.batch_size
        )

    def planned(self, items: list[Item], frames: Callable[[Item], int]) -> list[list[Item]]:
        """The batches in which items are computed; one of them planned alone stays as it is."""
        groups = plan_batches([frames(item) for item in items], self.batch_size)
        return [[items[index] for index in group] for group in groups]

"""Every window of a job converted: in batches, in halves when memory is short, again when in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from ultimate_rvc.device import is_out_of_memory, out_of_memory_error, release_cached_memory
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.chunks import SAMPLE_RATE
from ultimate_rvc.rvc.infer.optimization.batching import automatic_batch_size, plan_batches
from ultimate_rvc.rvc.infer.optimization.precision import FiniteWindows, Precision
from ultimate_rvc.rvc.infer.retrieval import Retriever
from ultimate_rvc.rvc.infer.vocal_features import Stage
from ultimate_rvc.rvc.infer.windows import Window, halve_window
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


@dataclass(frozen=True)
class WindowDriver:
    """Converts windows into the joiners of their recordings.

    ``frame_bytes`` is that of :func:`~ultimate_rvc.rvc.infer.optimization.batching.bytes_per_frame`, for
    the batch size ``auto``.
    """

    convert: ConvertBatch
    device: torch.device
    precision: Precision
    retriever: Retriever | None
    stage: Stage
    batch_size: int | Literal["auto"]
    frame_bytes: int
    skip_silence: bool

    def run(self, windows: Sequence[Window], progress: Progress) -> None:
        """Convert all windows, and once more those that were not exact or not finite."""
        finite: FiniteWindows[Window] = self.precision.finite_windows()
        if self.retriever is not None:
            self.retriever.forget_doubts()
        self._run_batches(windows, progress, lambda batch: finite.accept(batch, self.convert(batch)))
        if self.retriever is not None and self.retriever.needs_exact:
            # Nearly never: more vectors are closer together than rounding than a search looks at.
            log.info("The index holds near-duplicates; it is searched again, exactly.")
            for window in windows:
                window.recording.joiner.clear()
            finite = again = self.precision.finite_windows()
            self._run_batches(
                windows, progress, lambda batch: again.accept(batch, self.convert(batch, exact=True))
            )
        failed = finite.failed()
        if failed:
            with self.precision.float32():
                self._run_batches(
                    failed, progress, lambda batch: self.convert(batch, exact=True, recompute=True)
                )

    def _run_batches(
        self,
        windows: Sequence[Window],
        progress: Progress,
        convert: Callable[[Sequence[Window]], Sequence[Tensor]],
    ) -> None:
        total, done = max(sum(window.frames for window in windows), 1), 0
        driver = BatchDriver(self._batch_size_for(windows), self.device)
        progress.report("convert", 0.0)
        for window, converted in driver.run(
            windows, convert, frames=lambda window: window.frames, split=self._halved
        ):
            with self.stage("join"):
                window.recording.joiner.add(window.chunk, converted)
            done += window.frames
            progress.report("convert", min(done / total, 1.0))
        progress.report("convert", 1.0)

    def _batch_size_for(self, windows: Sequence[Window]) -> int:
        if self.batch_size != AUTO_BATCH:
            return self.batch_size
        longest = max((window.frames for window in windows), default=1)
        return automatic_batch_size(self.device, self.frame_bytes, longest)

    def _halved(self, window: Window) -> list[Window]:
        """What to convert instead of a window that does not fit into memory even alone."""
        halves = halve_window(window, skip_silence=self.skip_silence)
        if halves is None:
            raise out_of_memory_error(self.device)
        log.warning(
            "Out of memory on %s; halving a chunk of %.1f s.", self.device, window.chunk.length / SAMPLE_RATE
        )
        return halves


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
    ) -> Iterator[tuple[Item, Result]]:
        """Compute all items, of one file or of many, and give each with its result, longest first.

        ``compute`` gives the results of one batch, in its order. It is called again with fewer items when it
        runs out of memory, so it must not change anything but what it returns. ``frames`` is the length of an
        item; ``split`` gives shorter items to compute instead of one that does not fit even alone, and raises
        when there are none. Left out, the device's error is raised.
        """
        waiting = self._planned(list(items), frames)
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
            waiting = self._planned([*batch, *(item for later in waiting for item in later)], frames)

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

    def _planned(self, items: list[Item], frames: Callable[[Item], int]) -> list[list[Item]]:
        groups = plan_batches([frames(item) for item in items], self.batch_size)
        return [[items[index] for index in group] for group in groups]

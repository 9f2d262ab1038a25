"""The layers of a vocoder on a CPU: rows, pieces that fit the cache, fewer multiplications.

Layers are rows, ``(samples, channels)``, from the first upsampling to the waveform, so that no convolution
has to reorder them and a transposed one is a matrix product. Nearly all the work is in the residual blocks:
they run over one piece of time after the other, each as much wider as the blocks look, so that what one
layer writes is still in the cache when the next one reads it, and with short convolutions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from threading import Lock, local
from typing import Any

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.row_layers import RowOutput, RowUpsampling
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.short_convolution import row_convolution
from ultimate_rvc.rvc.networks.hifigan import ResidualPairs
from ultimate_rvc.rvc.networks.padding import Valid

PIECE_VALUES = 384 * 1024  # samples times channels: 1.5 MB; measured in docs/performance.md


class FastLayers:
    """``VocoderLayers`` for CPUs; weights are transformed when a layer is first met, and kept.

    What it returns is ``(batch, channels, samples)`` as everywhere, but lies in memory as rows. ``rounded``: products
    in residual blocks may have factors in bfloat16, where the processor has that.
    """

    def __init__(self, *, rounded: bool = False) -> None:
        self._prepared: dict[object, Any] = {}
        self._rounded = rounded
        self._pieces = _Pieces()

    def upsample(
        self,
        hidden: Tensor,
        upsampler: nn.ConvTranspose1d,
        source: Tensor | None,
        source_conv: nn.Conv1d | None,
    ) -> Tensor:
        """Float ``(batch, channels, samples)`` upsampled, the convolved source ``(batch, 1, n)`` added."""
        layer = self._once(upsampler, lambda: RowUpsampling(upsampler, source_conv))
        sources = [None] * len(hidden) if source is None else list(source[:, 0])
        items = [layer(_rows(item), heard) for item, heard in zip(hidden, sources, strict=True)]
        return _stacked(items)

    def mean_of_blocks(self, hidden: Tensor, blocks: Sequence[ResidualPairs], valid: Valid) -> Tensor:
        """The mean of residual blocks over float ``(batch, channels, samples)``, in the same shape."""
        prepared = [self._once(block, partial(_Block, block, rounded=self._rounded)) for block in blocks]
        mean = torch.empty_like(hidden.transpose(1, 2), memory_format=torch.contiguous_format)
        for item, rows in enumerate(mean):
            samples = len(rows) if valid is None else valid[item]
            if samples > 0:
                self._pieces.mean(_rows(hidden[item])[:samples], prepared, rows[:samples])
            rows[samples:] = 0
        return mean.transpose(1, 2)

    def output(self, hidden: Tensor, convolution: nn.Conv1d) -> Tensor:
        """Float ``(batch, channels, samples)`` as the waveform ``(batch, 1, samples)``."""
        layer = self._once(convolution, lambda: RowOutput(convolution))
        return torch.stack([layer(_rows(item)) for item in hidden])[:, None]

    def _once(self, layer: object, prepare: Callable[[], Any]) -> Any:
        if layer not in self._prepared:
            self._prepared[layer] = prepare()
        return self._prepared[layer]


def _rows(item: Tensor) -> Tensor:
    """``(channels, samples)`` as contiguous rows; no copy of what these layers returned."""
    return item.T.contiguous()


def _stacked(items: list[Tensor]) -> Tensor:
    """Rows of each item as ``(batch, channels, samples)``; no copy of a single one."""
    batch = items[0][None] if len(items) == 1 else torch.stack(items)
    return batch.transpose(1, 2)


class _Block:
    """One residual block over rows."""

    def __init__(self, block: ResidualPairs, *, rounded: bool) -> None:
        self._slope = block.slope
        prepare = partial(row_convolution, rounded=rounded)
        self._pairs = [(prepare(dilated), prepare(plain)) for dilated, plain in block.pairs]
        self._convolutions = [convolution for pair in self._pairs for convolution in pair]
        self.reach = sum(convolution.reach for convolution in self._convolutions)

    def piece(self, rows: Tensor, start: int, end: int) -> Tensor:
        """Return samples ``[start, end)`` of what the block makes of ``rows`` ``(samples, channels)``.

        The result is in memory that the thread's next piece overwrites.
        """
        low, high = max(start - self.reach, 0), min(end + self.reach, len(rows))
        read = rows[low:high]
        working = max(layer.space(len(read)) for layer in self._convolutions)
        hidden, branch, space = _memory.parts((read.numel(), read.numel(), working), like=rows)
        hidden, branch = hidden.view_as(read).copy_(read), branch.view_as(read)
        for dilated, plain in self._pairs:
            dilated(hidden, self._slope, branch, space, add=False)
            plain(branch, self._slope, hidden, space, add=True)
        return hidden[start - low : end - low]


class _Memory(local):
    """Working memory of a thread, kept: to allocate again is slow, and little is given back."""

    def __init__(self) -> None:
        self._numbers = torch.empty(0)

    def parts(self, sizes: Sequence[int], like: Tensor) -> Sequence[Tensor]:
        """Return vectors of these sizes, with anything in them."""
        needed = sum(sizes)
        if len(self._numbers) < needed or self._numbers.dtype != like.dtype:
            self._numbers = like.new_empty(needed)
        return torch.split(self._numbers[:needed], list(sizes))


_memory = _Memory()


class _Pieces:
    """Runs the residual blocks of a stage, a piece of time on each core."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def mean(self, rows: Tensor, blocks: Sequence[_Block], mean: Tensor) -> None:
        """Write the mean of the blocks over ``rows`` ``(samples, channels)`` into ``mean``."""
        samples, channels = rows.shape
        threads = torch.get_num_threads()
        most = max(PIECE_VALUES // channels, 8 * max(block.reach for block in blocks))
        count = -(-samples // most)
        if count > 1:
            count = -(-count // threads) * threads
        borders = [samples * piece // count for piece in range(count + 1)]
        write = partial(_write_piece, rows, blocks, mean)
        if count < 2 or threads < 2:
            for border in pairwise(borders):
                write(border)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(threads, "vocoder", initializer=partial(torch.set_num_threads, 1))
        with _one_thread_each(threads):
            deque(self._pool.map(write, pairwise(borders)), maxlen=0)  # raises what a piece raised


_one_at_a_time = Lock()


@contextmanager
def _one_thread_each(threads: int) -> Iterator[None]:
    """Let operations that are called meanwhile use one thread: the pieces have the cores."""
    with _one_at_a_time:
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@torch.inference_mode()
def _write_piece(rows: Tensor, blocks: Sequence[_Block], mean: Tensor, border: tuple[int, int]) -> None:
    start, end = border
    total = mean[start:end].copy_(blocks[0].piece(rows, start, end))
    for block in blocks[1:]:
        total += block.piece(rows, start, end)
    total *= 1 / len(blocks)

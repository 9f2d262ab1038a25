"""The layers of a vocoder on a CPU: rows, pieces that fit the cache, fewer multiplications.

Layers are rows, ``(samples, channels)``, from the first upsampling to the waveform, so that no convolution
has to reorder them and a transposed one is a matrix product. Nearly all the work is in the residual blocks:
they run over one piece of time after the other, each as much wider as the blocks look, so that what one
layer writes is still in the cache when the next one reads it, and with short convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.infer.optimization.row_layers import RowOutput, RowUpsampling
from ultimate_rvc.rvc.infer.optimization.short_convolution import RowConvolution, row_convolution
from ultimate_rvc.rvc.networks.hifigan import ResidualPairs
from ultimate_rvc.rvc.networks.padding import Valid

PIECE_VALUES = 384 * 1024  # samples times channels: 1.5 MB; measured in docs/performance.md
_leaky_relu_into = torch.ops.aten.leaky_relu.out


class FastLayers:
    """``VocoderLayers`` for CPUs; weights are transformed when a layer is first met, and kept.

    What it returns is ``(batch, channels, samples)`` as everywhere, but lies in memory as rows.
    """

    def __init__(self) -> None:
        self._prepared: dict[object, Any] = {}

    def upsample(
        self,
        hidden: Tensor,
        upsampler: nn.ConvTranspose1d,
        source: Tensor | None,
        source_conv: nn.Conv1d | None,
    ) -> Tensor:
        layer = self._once(upsampler, lambda: RowUpsampling(upsampler, source_conv))
        sources = [None] * len(hidden) if source is None else list(source[:, 0])
        items = [layer(_rows(item), heard) for item, heard in zip(hidden, sources, strict=True)]
        return _stacked(items)

    def mean_of_blocks(self, hidden: Tensor, blocks: Sequence[ResidualPairs], valid: Valid) -> Tensor:
        prepared = [self._once(block, partial(_Block, block)) for block in blocks]
        mean = torch.empty_like(hidden.transpose(1, 2), memory_format=torch.contiguous_format)
        for item, rows in enumerate(mean):
            samples = len(rows) if valid is None else valid[item]
            _mean_in_pieces(_rows(hidden[item])[:samples], prepared, rows[:samples])
            rows[samples:] = 0
        return mean.transpose(1, 2)

    def output(self, hidden: Tensor, convolution: nn.Conv1d) -> Tensor:
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


def _mean_in_pieces(rows: Tensor, blocks: Sequence[_Block], mean: Tensor) -> None:
    """Write the mean of the blocks over ``rows`` ``(samples, channels)`` into ``mean``."""
    samples, channels = rows.shape
    most = max(PIECE_VALUES // channels, 2 * max(block.reach for block in blocks))
    pieces = max(-(-samples // most), 1)
    for piece in range(pieces):
        start, end = samples * piece // pieces, samples * (piece + 1) // pieces
        total = blocks[0].piece(rows, start, end)
        for block in blocks[1:]:
            total += block.piece(rows, start, end)
        torch.mul(total, 1 / len(blocks), out=mean[start:end])


class _Block:
    """One residual block over rows."""

    def __init__(self, block: ResidualPairs) -> None:
        self._slope = block.slope
        self._pairs = [(row_convolution(dilated), row_convolution(plain)) for dilated, plain in block.pairs]
        self.reach = sum(_reach(convolution) for pair in block.pairs for convolution in pair)

    def piece(self, rows: Tensor, start: int, end: int) -> Tensor:
        """Return samples ``[start, end)`` of what the block makes of ``rows`` ``(samples, channels)``."""
        low, high = max(start - self.reach, 0), min(end + self.reach, len(rows))
        return self._whole(rows[low:high])[start - low : end - low]

    def _whole(self, rows: Tensor) -> Tensor:
        samples = len(rows)
        # The last tile of a short convolution may reach behind the end.
        hidden = rows.new_empty(max(plain.rows_written(samples) for _, plain in self._pairs), rows.shape[1])
        hidden[:samples] = rows
        hidden[samples:] = 0
        for dilated, plain in self._pairs:
            branch = dilated(self._activated(hidden[:samples, None], samples, dilated), samples)
            plain.add_to(hidden, self._activated(branch, samples, plain), samples)
        return hidden[:samples]

    def _activated(self, signal: Tensor, samples: int, convolution: RowConvolution) -> Tensor:
        """Return what ``convolution`` reads: leaky ReLU of ``(rows, phases, channels)``, padded."""
        rows, phases, channels = signal.shape
        start, end = convolution.margin, convolution.margin + rows * phases
        padded = signal.new_empty(max(convolution.rows_read(samples), end), channels)
        padded[:start] = 0
        _leaky_relu_into(signal, self._slope, out=padded[start:end].view(rows, phases, channels))
        padded[start + samples :] = 0
        return padded


def _reach(convolution: nn.Conv1d) -> int:
    return convolution.dilation[0] * (convolution.kernel_size[0] // 2)

"""The residual blocks of a vocoder on a CPU: in pieces that fit the cache, with short convolutions.

Nearly all the work of a vocoder is in its residual blocks. Here they run over one piece of time after
the other, each as much wider as the blocks look, so that what one layer writes is still in the cache
when the next one reads it; and layers are rows, ``(samples, channels)``, so that neither torch's own
convolutions nor :mod:`short_convolution`'s have to reorder them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.infer.optimization.short_convolution import RowConvolution, row_convolution
from ultimate_rvc.rvc.networks.hifigan import ResidualPairs
from ultimate_rvc.rvc.networks.padding import Valid

PIECE_VALUES = 512 * 1024  # samples times channels: 2 MB; measured in docs/performance.md
_leaky_relu_into = torch.ops.aten.leaky_relu.out


class FastBlocks:
    """A ``BlockRunner`` for CPUs; weights are transformed when a block is first met, and kept."""

    def __init__(self) -> None:
        self._prepared: dict[ResidualPairs, _Block] = {}

    def __call__(self, hidden: Tensor, blocks: Sequence[ResidualPairs], valid: Valid) -> Tensor:
        prepared = [self._block(block) for block in blocks]
        mean = torch.zeros_like(hidden)
        for item in range(len(hidden)):
            samples = hidden.shape[-1] if valid is None else valid[item]
            _mean_in_pieces(hidden[item, :, :samples], prepared, mean[item, :, :samples])
        return mean

    def _block(self, block: ResidualPairs) -> _Block:
        if block not in self._prepared:
            self._prepared[block] = _Block(block)
        return self._prepared[block]


def _mean_in_pieces(hidden: Tensor, blocks: Sequence[_Block], mean: Tensor) -> None:
    """Write the mean of the blocks over ``hidden`` ``(channels, samples)`` into ``mean``."""
    channels, samples = hidden.shape
    reach = max(block.reach for block in blocks)
    most = max(PIECE_VALUES // channels, 2 * reach)
    pieces = max(-(-samples // most), 1)
    for piece in range(pieces):
        start, end = samples * piece // pieces, samples * (piece + 1) // pieces
        low, high = max(start - reach, 0), min(end + reach, samples)
        rows = hidden[:, low:high].T.contiguous()
        total = blocks[0](rows)
        for block in blocks[1:]:
            total += block(rows)
        torch.mul(total[start - low : end - low].T, 1 / len(blocks), out=mean[:, start:end])


class _Block:
    """One residual block over rows."""

    def __init__(self, block: ResidualPairs) -> None:
        self._slope = block.slope
        self._pairs = [(row_convolution(dilated), row_convolution(plain)) for dilated, plain in block.pairs]
        self.reach = sum(_reach(convolution) for pair in block.pairs for convolution in pair)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return what the block makes of ``rows`` ``(samples, channels)``."""
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

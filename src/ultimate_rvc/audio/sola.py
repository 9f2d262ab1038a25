"""Blocks of sound joined without clicks: each is laid where it fits best on the end of the one before.

SOLA, "synchronized overlap-add" (Roucos and Wilgus, 1985), as the live conversions of RVC use it: blocks overlap, the
place is that of the highest normalised correlation, and the overlap is a crossfade.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAINT_ENERGY = 1e-10  # mean square, -100 dB: silence fits anywhere

FloatArray = NDArray[np.float32]


class BlockJoiner:
    """Joins blocks that overlap by a crossfade, and may each be moved by up to half of ``search`` either way.

    All lengths are samples; ``search`` may be 0.
    """

    def __init__(self, block: int, crossfade: int, search: int) -> None:
        self._block, self._crossfade, self._search = block, crossfade, search
        self._rise = np.sin((np.arange(crossfade) + 0.5) / crossfade * np.pi / 2).astype(np.float32) ** 2
        self.clear()

    @property
    def input_samples(self) -> int:
        """What :meth:`join` takes: a block, the crossfade behind it, and room to search in."""
        return self._block + self._crossfade + self._search

    def clear(self) -> None:
        """Begin anew: the next block rises from silence."""
        self._tail = np.zeros(self._crossfade, np.float32)
        self.offset = self._search // 2
        """Where in its input the last block began."""

    def join(self, rendered: FloatArray) -> FloatArray:
        """The next ``(block,)`` samples of ``rendered``, float32 ``(input_samples,)``.

        It begins with the time at which the block before ended, less half of the search.
        """
        if np.square(self._tail).mean() < FAINT_ENERGY:
            self.offset = self._search // 2
        else:
            self.offset = best_offset(rendered[: self._crossfade + self._search], self._tail, self.offset)
        fitted = rendered[self.offset : self.offset + self._block + self._crossfade].copy()
        fitted[: self._crossfade] *= self._rise
        fitted[: self._crossfade] += self._tail * self._rise[::-1]
        self._tail = fitted[self._block :]
        return fitted[: self._block]


def best_offset(heard: FloatArray, tail: FloatArray, usual: int) -> int:
    """Where ``tail`` ``(samples,)`` lies in ``heard`` ``(samples + search,)`` with the highest correlation.

    ``usual`` where no place is better.
    """
    samples = len(tail)
    products = np.correlate(heard, tail, mode="valid").astype(np.float64)
    summed = np.concatenate(([0.0], np.cumsum(np.square(heard, dtype=np.float64))))
    energies = summed[samples:] - summed[:-samples]
    fits = products / np.sqrt(np.maximum(energies, FAINT_ENERGY * samples))
    best = int(np.argmax(fits))
    return best if fits[best] > fits[usual] else usual

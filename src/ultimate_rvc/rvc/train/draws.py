"""The random numbers of a training step: each example has its own, wherever it is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class ExampleDraws:
    """Numbers that depend on the seed, the step and the example's place in the step, and on nothing else.

    Not on how a step is divided among processes, nor on how far a batch is padded: one
    process with a batch of 16 draws what two processes with 8 each draw. A ``BatchDraws`` of
    ``networks.noise``.

    Parameters
    ----------
    seed, step : int
    places : sequence of int
        For each item of the batch, its place among all examples of the step.
    lengths : sequence of int
        Frames of each item without padding.
    """

    def __init__(self, seed: int, step: int, places: Sequence[int], lengths: Sequence[int]) -> None:
        self._lengths = tuple(lengths)
        self._padded = max(self._lengths)
        self._generators = [_generator(seed, step, place) for place in places]

    def normal(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Standard normal numbers (batch, ...) on the CPU; behind an item's end they are zero."""
        drawn = torch.zeros(shape)
        for item, generator in enumerate(self._generators):
            own = self._own_part(drawn, item, time_dim)
            own.copy_(torch.randn(own.shape, generator=generator))
        return drawn

    def uniform(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Uniform numbers in [0, 1) (batch, ...) on the CPU; behind an item's end they are zero."""
        drawn = torch.zeros(shape)
        for item, generator in enumerate(self._generators):
            own = self._own_part(drawn, item, time_dim)
            own.copy_(torch.rand(own.shape, generator=generator))
        return drawn

    def _own_part(self, drawn: Tensor, item: int, time_dim: int | None) -> Tensor:
        """What of ``drawn`` is not padding: whole pieces are padded, the segments for the vocoder are not."""
        own = drawn[item]
        if time_dim is None or drawn.shape[time_dim] != self._padded:
            return own
        return own.narrow(time_dim - 1, 0, self._lengths[item])


def _generator(seed: int, step: int, place: int) -> torch.Generator:
    key = np.random.SeedSequence((seed, step, place)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> 1))

"""The random numbers of a training step: each example has its own, wherever it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


class ExampleDraws:
    """Numbers that depend on the seed, the step and the example's place in the step, and on nothing else.

    Not on how a step is divided among processes, nor on how far a batch is padded: one
    process with a batch of 16 draws what two processes with 8 each draw. A ``BatchDraws`` of
    ``networks.noise``. ``places`` has the place of each item of the batch among all examples of the step,
    ``lengths`` its frames without padding.
    """

    def __init__(self, seed: int, step: int, places: Sequence[int], lengths: Sequence[int]) -> None:
        self._lengths = tuple(lengths)
        self._padded = max(self._lengths)
        self._generators = [_generator(seed, step, place) for place in places]

    def normal(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Standard normal numbers (batch, ...) on the CPU; behind an item's end they are zero."""
        return self._drawn(torch.randn, shape, time_dim)

    def uniform(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Uniform numbers in [0, 1) (batch, ...) on the CPU; behind an item's end they are zero."""
        return self._drawn(torch.rand, shape, time_dim)

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        drawn = torch.zeros(shape)
        for item, (generator, length) in enumerate(zip(self._generators, self._lengths, strict=True)):
            own = drawn[item]
            # Whole pieces are padded, the segments for the vocoder are not.
            if time_dim is not None and shape[time_dim] == self._padded:
                own = own.narrow(time_dim - 1, 0, length)
            own.copy_(draw(own.shape, generator=generator))
        return drawn


def _generator(seed: int, step: int, place: int) -> torch.Generator:
    key = np.random.SeedSequence((seed, step, place)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> 1))

"""Random numbers that belong to frames: a frame that is rendered twice has the same ones both times."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GROUP_FRAMES = 16  # drawn at once


class FrameDraws:
    """``BatchDraws`` of one item for frames ``[first, first + frames)`` of an endless stream.

    Which numbers a frame has depends on the ``seed``, the frame's number and how many draws came before in this
    object, and on nothing else. ``stream`` tells objects apart that draw for the same frames.
    """

    def __init__(self, seed: int, stream: int, first: int, frames: int) -> None:
        self._seed, self._stream, self._first, self._frames = seed, stream, first, frames
        self._draws = 0

    def normal(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Standard normal numbers of any shape, time at ``time_dim``: see :class:`BatchDraws`."""
        self._draws += 1
        if time_dim is None:
            return torch.from_numpy(self._generator(0).standard_normal(shape, np.float32))
        per_frame = shape[time_dim] // self._frames
        group_shape = (*shape[:time_dim], GROUP_FRAMES * per_frame, *shape[time_dim + 1 :])
        low, high = self._first // GROUP_FRAMES, -(-(self._first + self._frames) // GROUP_FRAMES)
        groups = [
            self._generator(group).standard_normal(group_shape, np.float32) for group in range(low, high)
        ]
        drawn = torch.from_numpy(np.concatenate(groups, axis=time_dim))
        start = (self._first - low * GROUP_FRAMES) * per_frame
        return drawn.narrow(time_dim, start, shape[time_dim]).contiguous()

    def uniform(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Uniform numbers in [0, 1) of any shape without time, the same for all frames."""
        self._draws += 1
        return torch.from_numpy(self._generator(0).random(shape, np.float32))

    def _generator(self, group: int) -> np.random.Generator:
        words = np.random.SeedSequence([self._seed, self._stream, self._draws]).generate_state(2, np.uint64)
        return np.random.Generator(np.random.Philox(key=words, counter=[0, 0, 0, group]))

"""Explicit randomness: every random number of a render comes from here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Random numbers of one strength.

    ``scale`` 0 switches them off. With a seeded ``generator`` they depend on nothing but its state
    and the shapes asked for: they are drawn in float32 on the generator's own device, so a
    CPU generator gives the same numbers whatever device the model runs on.
    """

    scale: float
    generator: torch.Generator | None = None

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Return ``scale`` times standard normal numbers on the device and dtype of ``like``."""
        if self.scale == 0:
            return None
        drawn = torch.randn(shape, generator=self.generator, device=self._device(like))
        return drawn.mul_(self.scale).to(like)

    def phases(self, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Return uniform phases in cycles, [0, 1); they have no strength, only on and off."""
        if self.scale == 0:
            return None
        return torch.rand(shape, generator=self.generator, device=self._device(like)).to(like)

    def _device(self, like: Tensor) -> torch.device:
        return like.device if self.generator is None else self.generator.device

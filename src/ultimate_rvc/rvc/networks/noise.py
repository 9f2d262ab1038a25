"""Explicit randomness: every random number of a render comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class BatchDraws(Protocol):
    """Random numbers of a padded batch, in which each item has those it has alone."""

    def normal(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Standard normal numbers: any shape with the batch first, time at ``time_dim``."""

    def uniform(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        """Uniform numbers in [0, 1), any shape, as :meth:`normal`."""


@dataclass(frozen=True)
class Noise:
    """Random numbers of one strength.

    ``scale`` 0 switches them off. With a seeded ``generator`` they depend on nothing but its state
    and the shapes asked for: they are drawn in float32 on the generator's own device, so a
    CPU generator gives the same numbers whatever device the model runs on.
    """

    scale: float
    generator: torch.Generator | BatchDraws | None = None

    def normal(self, shape: tuple[int, ...], like: Tensor, *, time_dim: int | None) -> Tensor | None:
        """Return ``scale`` times standard normal numbers on the device and dtype of ``like``.

        Any shape; ``time_dim`` is its dimension that is a multiple of the frames, if there is one.
        """
        if self.scale == 0:
            return None
        if self.generator is None or isinstance(self.generator, torch.Generator):
            drawn = torch.randn(shape, generator=self.generator, device=self._device(like))
        else:
            drawn = self.generator.normal(shape, time_dim)
        return drawn.mul_(self.scale).to(like)

    def sample(self, mean: Tensor, log_deviation: Tensor) -> Tensor:
        """Draw from normal distributions, each (batch, channels, frames); the mean itself without strength."""
        drawn = self.normal(tuple(mean.shape), mean, time_dim=2)
        return mean if drawn is None else mean + torch.exp(log_deviation) * drawn

    def phases(self, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Return uniform phases in cycles, [0, 1), any shape without time; no strength, only on and off."""
        if self.scale == 0:
            return None
        if self.generator is None or isinstance(self.generator, torch.Generator):
            return torch.rand(shape, generator=self.generator, device=self._device(like)).to(like)
        return self.generator.uniform(shape, None).to(like)

    def _device(self, like: Tensor) -> torch.device:
        return self.generator.device if isinstance(self.generator, torch.Generator) else like.device

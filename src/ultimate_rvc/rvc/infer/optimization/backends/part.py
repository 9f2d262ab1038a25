"""What a backend runs: one network of the path, tensors in and tensors out, one item at a time.

Noise is drawn by torch and handed in, so every backend computes the same sound from the same seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

FIRST_STEPS = 3  # an example is so many times the fewest steps: no size of it may be taken for a constant 1

Runner = Callable[..., tuple[Tensor, ...]]
"""Runs a part: its inputs in order, float32 or int64, to its outputs in float32, on the device of the first."""


class PartName(StrEnum):
    CONTENT = "content_encoder"
    TEXT = "text_encoder"
    FLOW = "flow"
    VOCODER = "vocoder"
    PITCH = "pitch"


@dataclass(frozen=True)
class Port:
    """A tensor that goes in or comes out; ``shape`` has None where time is."""

    name: str
    shape: tuple[int | None, ...]
    per_step: int = 1
    """How long it is for each step of its part; of an output 0 where that is no fixed number."""
    below: int = 0
    """Above 0 for whole numbers: they are below it."""

    @property
    def time_axis(self) -> int | None:
        return self.shape.index(None) if None in self.shape else None

    def example(self, steps: int, generator: torch.Generator) -> Tensor:
        """Random numbers of its shape, on the host: any shape."""
        shape = [steps * self.per_step if size is None else size for size in self.shape]
        if self.below:
            return torch.randint(self.below, shape, generator=generator)
        return torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class Part:
    """A network as backends see it.

    ``network`` takes tensors of its ``inputs`` and gives one tensor or several, its ``outputs``, for ``fewest`` to
    ``most`` steps of time; where ``lengths`` are given, for these alone. ``replace`` lets the path call a runner
    from then on, or the network itself again when it is given None.
    """

    name: PartName
    network: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    fewest: int
    most: int
    replace: Callable[[Runner | None], None]
    lengths: tuple[int, ...] = ()

    def example(self, steps: int | None = None, seed: int = 0) -> tuple[Tensor, ...]:
        """Inputs of so many steps, each of any shape; left out, of a length that stands for all."""
        generator = torch.Generator().manual_seed(seed)
        steps = steps or (min(self.lengths) if self.lengths else FIRST_STEPS * self.fewest)
        device = self.device
        return tuple(port.example(steps, generator).to(device) for port in self.inputs)

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What torch makes of inputs, of any shape that the part takes: the reference."""
        outputs = self.network(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def run_once(self, instead: Runner, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One call of the network itself, inputs of any shape, while ``instead`` runs it for the path."""
        self.replace(None)
        try:
            return self.run(*inputs)
        finally:
            self.replace(instead)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def identity(self) -> str:
        """SHA-256 of weights, layers and ports: equal exactly when an export of the one serves for the other."""
        digest = hashlib.sha256(f"{self.network}{self.inputs}{self.outputs}{self.lengths}".encode())
        for name, tensor in _weights(self.network):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()

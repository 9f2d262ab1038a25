"""What each process is given for each step, from the first step of this run to the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ultimate_rvc.rvc.train.batches import Batch, Example
from ultimate_rvc.rvc.train.draws import ExampleDraws
from ultimate_rvc.rvc.train.order import epoch_batches, share_of
from ultimate_rvc.rvc.train.tables import DataDescription


class TrainingData(Protocol):
    """What training asks of a dataset; ``store.TrainingSet`` is one."""

    @property
    def description(self) -> DataDescription: ...

    @property
    def key(self) -> str:
        """Another one for data made from anything else, or otherwise."""

    @property
    def frames(self) -> Sequence[int]:
        """Length of each example."""

    @property
    def features(self) -> NDArray[np.float32]:
        """Content features of every piece, ``(frames, phone_dim)`` at 50 Hz: what the index holds."""

    @property
    def copies(self) -> int:
        """Of each example, with features of other speakers."""

    def __len__(self) -> int: ...

    def example(self, number: int, copy: int = 0) -> Example:
        """One piece; ``copy`` from 1 to ``copies`` with features of another speaker."""

    def held_out(self) -> Sequence[Example]:
        """Pieces that are not trained on; at least one."""


@dataclass(frozen=True)
class Portion:
    """One process's share of one step."""

    batch: Batch
    places: tuple[int, ...]
    """Of its examples among all of the step."""
    frames_of_all: int
    """Frames of the whole step, over all processes, without padding."""
    ends_epoch: bool

    def draws(self, seed: int, step: int) -> ExampleDraws:
        return ExampleDraws(seed, step, self.places, self.batch.lengths.tolist())


@dataclass(frozen=True)
class PlannedStep:
    """The pieces of one step, over all processes."""

    pieces: list[int]
    epoch: int
    ends_epoch: bool


@dataclass(frozen=True)
class Portions:
    """Makes the portions of process ``process`` of ``processes``; ``batch_size`` is that of all together."""

    data: TrainingData
    batch_size: int
    seed: int
    process: int
    processes: int
    segment_frames: int
    pin_memory: bool

    def plan(self, epoch: int, batch: int, num_epochs: int) -> Iterator[PlannedStep]:
        """The steps from ``batch`` of ``epoch`` on."""
        for running in range(epoch, num_epochs):
            batches = epoch_batches(self.data.frames, self.batch_size, seed=self.seed, epoch=running)
            first = batch if running == epoch else 0
            for place in range(first, len(batches)):
                yield PlannedStep(batches[place], running, ends_epoch=place == len(batches) - 1)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def make(self, step: PlannedStep) -> Portion:
        pieces = step.pieces
        places = share_of(pieces, self.process, self.processes)
        batch = Batch.of([self._example(pieces[place], step.epoch) for place in places])
        batch = at_least(batch, self.segment_frames)
        frames = self.data.frames
        return Portion(
            # In memory that a GPU can read by itself.
            batch=batch.each(Tensor.pin_memory) if self.pin_memory else batch,
            places=tuple(places),
            frames_of_all=sum(frames[piece] for piece in pieces),
            ends_epoch=step.ends_epoch,
        )

    def _example(self, piece: int, epoch: int) -> Example:
        """The piece, or one of its copies: in each epoch another choice, each of them as likely."""
        if self.data.copies == 0:
            return self.data.example(piece)
        random = np.random.default_rng((self.seed, epoch, piece))
        return self.data.example(piece, int(random.integers(self.data.copies + 1)))


class Preloaded:
    """A dataset that is held in memory."""

    def __init__(self, data: TrainingData) -> None:
        self.description, self.key = data.description, data.key
        self.frames = list(data.frames)
        self.features = data.features
        self.copies = data.copies
        self._examples = [data.example(number) for number in range(len(data))]
        # Copies differ in their features alone.
        self._others_features = [
            [data.example(number, copy + 1).features for copy in range(data.copies)]
            for number in range(len(data))
        ]
        self._held_out = list(data.held_out())

    def __len__(self) -> int:
        return len(self._examples)

    def example(self, number: int, copy: int = 0) -> Example:
        example = self._examples[number]
        return replace(example, features=self._others_features[number][copy - 1]) if copy else example

    def held_out(self) -> Sequence[Example]:
        return self._held_out


def at_least(batch: Batch, frames: int) -> Batch:
    """``batch`` padded with zeros to at least ``frames``, for pieces shorter than the segment to render."""
    present = batch.spectrogram.shape[-1]
    missing = frames - present
    if missing <= 0:
        return batch
    hop_length = batch.waveform.shape[-1] // present

    def padded(curve: Tensor | None) -> Tensor | None:
        return None if curve is None else F.pad(curve, (0, missing))

    return replace(
        batch,
        features=F.pad(batch.features, (0, 0, 0, missing)),
        pitch=padded(batch.pitch),
        f0_hz=padded(batch.f0_hz),
        spectrogram=F.pad(batch.spectrogram, (0, missing)),
        waveform=F.pad(batch.waveform, (0, missing * hop_length)),
    )

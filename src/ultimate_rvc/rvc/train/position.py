"""Where a training stands, and what it has measured so far: plain values that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from ultimate_rvc.rvc.train.overtraining import OvertrainingDetector
from ultimate_rvc.rvc.train.scores import Score
from ultimate_rvc.rvc.train.step import VALUES
from ultimate_rvc.rvc.train.tables import table_key


@dataclass
class Position:
    """Progress of a training.

    ``epoch`` counts complete epochs, ``batch`` the steps made in the one that is running, ``step`` all steps.
    ``sums`` are the values of ``step.VALUES`` added up over the running epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    sums: Tensor = field(default_factory=lambda: torch.zeros(len(VALUES)))
    scores: list[Score] = field(default_factory=list)

    def state(self, detector: OvertrainingDetector, keys: DataKeys) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "seconds": self.seconds,
            "sums": self.sums.cpu(),
            "scores": [score.state() for score in self.scores],
            "overtraining": detector.state(),
            "order": keys.order,
            "judged": keys.judged,
        }

    def load(self, state: Mapping[str, Any], detector: OvertrainingDetector, keys: DataKeys) -> bool:
        """Take back what :meth:`state` gave; False when the running epoch has to start again.

        That is so when the pieces, the batch size or the seed changed since: the batches are then others.
        Scores are forgotten when they are of other data: they cannot be compared with those to come.
        """
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.seconds = state["seconds"]
        self.sums = state["sums"].to(self.sums.device)
        if state.get("judged") == keys.judged:
            self.scores = [Score.from_state(score) for score in state["scores"]]
        detector.load_state(state["overtraining"])
        if state["order"] == keys.order or self.batch == 0:
            return True
        self.begin_epoch()
        return False

    def begin_epoch(self) -> None:
        self.batch = 0
        self.sums = torch.zeros_like(self.sums)


@dataclass(frozen=True)
class DataKeys:
    """Names for what a training is given, by which a change of it is noticed."""

    order: str
    """Of everything that decides which pieces are in which batch."""
    judged: str
    """Of all that the data were made from: voices are judged by some of them."""

    @classmethod
    def of(cls, frames: Sequence[int], data_key: str, batch_size: int, seed: int) -> Self:
        return cls(table_key(list(frames), batch_size, seed), data_key)

"""When to stop: a training that no longer gets better only learns its dataset by heart."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

MIN_IMPROVEMENT = 0.004  # of the average loss, for an epoch to count as better; Ultimate RVC's figure


@dataclass
class BestLoss:
    """The lowest average loss of an epoch, and how many epochs ago it was."""

    value: float = math.inf
    epoch: int = 0
    epochs_since: int = 0

    def update(self, loss: float, epoch: int) -> None:
        if loss < self.value - MIN_IMPROVEMENT:
            self.value, self.epoch, self.epochs_since = loss, epoch, 0
        else:
            self.epochs_since += 1


class OvertrainingDetector:
    """Ultimate RVC's rule: the generator got no better for ``threshold`` epochs, or the discriminator for
    twice as many.
    """

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.generator, self.discriminator = BestLoss(), BestLoss()

    def update(self, generator_loss: float, discriminator_loss: float, epoch: int) -> str | None:
        """Take the average losses of one more epoch; returns why to stop, or None to continue."""
        self.generator.update(generator_loss, epoch)
        self.discriminator.update(discriminator_loss, epoch)
        for network, best, limit in (
            ("generator", self.generator, self.threshold),
            ("discriminator", self.discriminator, 2 * self.threshold),
        ):
            if best.epochs_since >= limit:
                return (
                    f"overtraining: the {network} has not got better since epoch {best.epoch} "
                    f"(average loss {best.value:.3f})"
                )
        return None

    def state(self) -> dict[str, dict[str, float]]:
        return {"generator": asdict(self.generator), "discriminator": asdict(self.discriminator)}

    def load_state(self, state: dict[str, dict[str, float]]) -> None:
        def best(values: dict[str, float]) -> BestLoss:
            return BestLoss(values["value"], int(values["epoch"]), int(values["epochs_since"]))

        self.generator, self.discriminator = best(state["generator"]), best(state["discriminator"])

"""The judges of a training: sets of discriminators, as the versions of RVC have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.rvc.networks.spectrogram_discriminator import Resolution, SpectrogramDiscriminator
from ultimate_rvc.rvc.networks.training_state import load_training_state
from ultimate_rvc.rvc.networks.waveform_discriminators import (
    Judgement,
    PeriodDiscriminator,
    ScaleDiscriminator,
)

PERIODS = {VoiceVersion.V1: (2, 3, 5, 7, 11, 17), VoiceVersion.V2: (2, 3, 5, 7, 11, 17, 23, 37)}
REFINEGAN_PERIODS = (2, 3, 5, 7, 11)
REFINEGAN_RESOLUTIONS = (Resolution(1024, 120, 600), Resolution(2048, 240, 1200), Resolution(512, 50, 240))


@dataclass(frozen=True)
class DiscriminatorOutput:
    """One entry per discriminator: scores (batch, n), and the values of each of its layers."""

    real_scores: list[Tensor]
    fake_scores: list[Tensor]
    real_maps: list[list[Tensor]]
    fake_maps: list[list[Tensor]]


class Discriminators(nn.Module):
    """Several discriminators, each judging the same recordings and renders."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(members)

    def forward(self, real: Tensor, fake: Tensor) -> DiscriminatorOutput:
        """Judge real and fake (batch, 1, samples).

        Both go through a discriminator at once while it learns. Where it does not (see ``frozen``), only
        ``fake`` leads back to something that does, and the way back through ``real`` is spared.
        """
        learns = any(parameter.requires_grad for parameter in self.parameters())
        judge = _judge_together if learns else _judge_apart
        pairs = [judge(member, real, fake) for member in self.discriminators]
        return DiscriminatorOutput(
            real_scores=[real_scores for (real_scores, _), _ in pairs],
            fake_scores=[fake_scores for _, (fake_scores, _) in pairs],
            real_maps=[real_maps for (_, real_maps), _ in pairs],
            fake_maps=[fake_maps for _, (_, fake_maps) in pairs],
        )

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take a published ``D`` file's ``model``; errors are those of :func:`load_training_state`."""
        load_training_state(self, state)


def build_discriminator(version: VoiceVersion, vocoder: Vocoder, width: float = 1.0) -> Discriminators:
    """Return the discriminators that a voice of this version and vocoder is trained against.

    v2 has two periods more than v1; RefineGAN has a set of its own. ``width`` is a factor on all channel
    counts, below 1 for small networks; ValueError when it is not positive.
    """
    if not width > 0:
        raise ValueError(f"width must be positive, not {width}")
    periods = REFINEGAN_PERIODS if vocoder is Vocoder.REFINE_GAN else PERIODS[version]
    resolutions = REFINEGAN_RESOLUTIONS if vocoder is Vocoder.REFINE_GAN else ()
    return Discriminators(
        [
            ScaleDiscriminator(width),
            *(PeriodDiscriminator(period, width) for period in periods),
            *(SpectrogramDiscriminator(resolution, width) for resolution in resolutions),
        ]
    )


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within, ``network`` collects no gradients for its own weights: the generator's step needs none."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _judge_together(member: nn.Module, real: Tensor, fake: Tensor) -> tuple[Judgement, Judgement]:
    scores, maps = cast("Judgement", member(torch.cat((real, fake))))
    items = len(real)
    real_judgement = (scores[:items], [values[:items] for values in maps])
    return real_judgement, (scores[items:], [values[items:] for values in maps])


def _judge_apart(member: nn.Module, real: Tensor, fake: Tensor) -> tuple[Judgement, Judgement]:
    return cast("Judgement", member(real)), cast("Judgement", member(fake))

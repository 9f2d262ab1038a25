"""The normalising flow between prior and latent: a voice goes from prior to latent, training back."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.wavenet import KERNEL_SIZE, WaveNet

COUPLINGS = 4
WAVENET_LAYERS = 3
REACH_FRAMES = COUPLINGS * WAVENET_LAYERS * (KERNEL_SIZE // 2)  # to either side that a frame depends on


class Flow(nn.Module):
    """Four mean-only couplings (Dinh et al., "NICE", 2015), each followed by a reversal of the channels.

    Files number the reversals as layers too: the couplings are ``flows.0``, ``2``, ``4``, ``6``.
    """

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        self.flows = nn.ModuleList()
        for _ in range(COUPLINGS):
            self.flows.extend((Coupling(config), ChannelFlip()))

    def forward(self, prior: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        """Carry a prior sample (batch, inter_channels, frames) to the latent: layers inverted, last first."""
        for layer in reversed(self.flows):
            prior = layer(prior, speaker, mask)
        return prior

    def to_prior(self, latent: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """Carry a latent (batch, inter_channels, frames) to the prior's side: the inverse of ``forward``."""
        for layer in self.flows:
            latent = cast("Coupling | ChannelFlip", layer).to_prior(latent, speaker, mask)
        return latent


class Coupling(nn.Module):
    """Mean-only coupling: towards the latent, the second half loses what the first half predicts of it.

    ``forward`` keeps the shape of ``latent`` (batch, inter_channels, frames); ``speaker`` is
    (batch, speaker_channels, 1), ``mask`` (batch, 1, frames).
    """

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        half, hidden = config.inter_channels // 2, config.hidden_channels
        self.pre = nn.Conv1d(half, hidden, 1)
        self.enc = WaveNet(hidden, layers=WAVENET_LAYERS, speaker_channels=config.speaker_channels)
        self.post = nn.Conv1d(hidden, half, 1)

    def forward(self, latent: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        kept, changed = latent.chunk(2, dim=1)
        changed = changed - self._predicted(kept, speaker, mask)
        changed = changed if mask is None else changed * mask
        return torch.cat((kept, changed), dim=1)

    def to_prior(self, latent: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """Give back to the second half of (batch, inter_channels, frames) what ``forward`` takes."""
        kept, changed = latent.chunk(2, dim=1)
        changed = (changed + self._predicted(kept, speaker, mask)) * mask
        return torch.cat((kept, changed), dim=1)

    def _predicted(self, kept: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.pre(kept)
        hidden = hidden if mask is None else hidden * mask
        predicted: Tensor = self.post(self.enc(hidden, speaker, mask))
        return predicted


class ChannelFlip(nn.Module):
    """Reverse the channels of (batch, channels, frames): its own inverse."""

    def forward(self, latent: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        return latent.flip(1)

    def to_prior(self, latent: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """Reverse the channels of (batch, channels, frames)."""
        return latent.flip(1)

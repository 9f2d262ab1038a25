"""The normalising flow between prior and latent, in the direction a voice needs it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.wavenet import WaveNet

COUPLINGS = 4
WAVENET_KERNEL_SIZE = 5
WAVENET_DILATION_RATE = 1
WAVENET_LAYERS = 3


class Flow(nn.Module):
    """Four mean-only couplings, each followed by a reversal of the channels.

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


class Coupling(nn.Module):
    """Inverse of a mean-only coupling: the second half loses what the first half predicts of it."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        half, hidden = config.inter_channels // 2, config.hidden_channels
        self.pre = nn.Conv1d(half, hidden, 1)
        self.enc = WaveNet(
            hidden,
            kernel_size=WAVENET_KERNEL_SIZE,
            dilation_rate=WAVENET_DILATION_RATE,
            layers=WAVENET_LAYERS,
            speaker_channels=config.speaker_channels,
        )
        self.post = nn.Conv1d(hidden, half, 1)

    def forward(self, latent: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        kept, changed = latent.chunk(2, dim=1)
        hidden = self.pre(kept)
        hidden = hidden if mask is None else hidden * mask
        changed = changed - self.post(self.enc(hidden, speaker, mask))
        changed = changed if mask is None else changed * mask
        return torch.cat((kept, changed), dim=1)


class ChannelFlip(nn.Module):
    """Reverse the channel order: its own inverse."""

    def forward(self, latent: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        return latent.flip(1)

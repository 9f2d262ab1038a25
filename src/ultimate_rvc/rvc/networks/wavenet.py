"""The gated convolution stack inside the flow: WaveNet (van den Oord et al., 2016) that also looks ahead."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KERNEL_SIZE = 5  # RVC dilates none of the layers


class WaveNet(nn.Module):
    """Gated convolutions with residual and skip paths, steered by the speaker vector."""

    def __init__(self, channels: int, *, layers: int, speaker_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.cond_layer = nn.Conv1d(speaker_channels, 2 * channels * layers, 1)
        self.in_layers = nn.ModuleList()
        self.res_skip_layers = nn.ModuleList()
        for layer in range(layers):
            self.in_layers.append(nn.Conv1d(channels, 2 * channels, KERNEL_SIZE, padding=KERNEL_SIZE // 2))
            # The last layer has nobody to hand a residual to: it gives a skip only.
            outputs = 2 * channels if layer < layers - 1 else channels
            self.res_skip_layers.append(nn.Conv1d(channels, outputs, 1))

    def forward(self, hidden: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        """Map hidden (batch, channels, frames) with speaker (batch, speaker_channels, 1)."""
        conditions = self.cond_layer(speaker).chunk(len(self.in_layers), dim=1)
        skipped = torch.zeros_like(hidden)
        for gated, res_skip, condition in zip(self.in_layers, self.res_skip_layers, conditions, strict=True):
            content, gate = (gated(hidden) + condition).chunk(2, dim=1)
            output = res_skip(torch.tanh(content) * torch.sigmoid(gate))
            skipped = skipped + output[:, -self.channels :]
            if output.shape[1] > self.channels:
                hidden = hidden + output[:, : self.channels]
                hidden = hidden if mask is None else hidden * mask
        return skipped

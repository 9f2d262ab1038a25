"""Discriminators that listen to the waveform: at its own rate, and folded at a period.

Kong et al., "HiFi-GAN" (2020); layers are named as in RVC's published ``D_*.pth`` files.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.training_state import norm_weights

SLOPE = 0.1
GROUP_CHANNELS = 4  # of the input per group of a strided convolution
SCALE_CHANNELS = (16, 64, 256, 1024, 1024)
SCALE_KERNEL, SCALE_STRIDE = 41, 4
PERIOD_CHANNELS = (32, 128, 512, 1024, 1024)
PERIOD_KERNEL, PERIOD_STRIDE = 5, 3

Judgement = tuple[Tensor, list[Tensor]]
"""Scores (batch, n) and the values of every layer, the scores' own among them."""


class ScaleDiscriminator(nn.Module):
    """Strided convolutions over the waveform itself (``DiscriminatorS``)."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = [scaled_channels(count, width) for count in SCALE_CHANNELS]
        self.convs = nn.ModuleList([nn.Conv1d(1, channels[0], 15, padding=7)])
        for inputs, outputs in pairwise(channels):
            groups = math.gcd(inputs // GROUP_CHANNELS, outputs)
            padding = SCALE_KERNEL // 2
            self.convs.append(nn.Conv1d(inputs, outputs, SCALE_KERNEL, SCALE_STRIDE, padding, groups=groups))
        self.convs.append(nn.Conv1d(channels[-1], channels[-1], 5, padding=2))
        self.conv_post = nn.Conv1d(channels[-1], 1, 3, padding=1)
        norm_weights(self, lambda layer: True)

    def forward(self, waveform: Tensor) -> Judgement:
        """Judge waveform (batch, 1, samples)."""
        return judged(waveform, self.convs, self.conv_post)


class PeriodDiscriminator(nn.Module):
    """Convolutions along every ``period``-th sample, side by side for all phases (``DiscriminatorP``)."""

    def __init__(self, period: int, width: float = 1.0) -> None:
        super().__init__()
        self.period = period
        channels = [1, *(scaled_channels(count, width) for count in PERIOD_CHANNELS)]
        strides = [*[PERIOD_STRIDE] * (len(PERIOD_CHANNELS) - 1), 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (PERIOD_KERNEL, 1), (stride, 1), (PERIOD_KERNEL // 2, 0))
            for (inputs, outputs), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.conv_post = nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0))
        norm_weights(self, lambda layer: True)

    def forward(self, waveform: Tensor) -> Judgement:
        """Judge waveform (batch, 1, samples)."""
        batch, _, samples = waveform.shape
        waveform = F.pad(waveform, (0, -samples % self.period), "reflect")
        folded = waveform.reshape(batch, 1, -1, self.period)
        return judged(folded, self.convs, self.conv_post)


def judged(signal: Tensor, convs: nn.ModuleList, conv_post: nn.Module) -> Judgement:
    """Run ``convs``, each followed by a leaky ReLU, and ``conv_post``.

    ``signal`` is (batch, 1, samples), or (batch, 1, height, width) for planes.
    """
    maps = []
    for conv in convs:
        signal = F.leaky_relu(conv(signal), SLOPE)
        maps.append(signal)
    scores = conv_post(signal)
    maps.append(scores)
    return scores.flatten(1), maps


def scaled_channels(count: int, width: float) -> int:
    """``count`` channels times ``width``, to the next multiple of a group, at least one group."""
    return max(1, round(count * width / GROUP_CHANNELS)) * GROUP_CHANNELS

"""MockingBird's HiFi-GAN: mel spectrograms to a waveform; the sizes come from the JSON beside the checkpoint.

Kong et al., "HiFi-GAN" (2020). Blocks and stages are those of RVC's vocoder, without a source and a speaker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.hifigan import (
    PLAIN_LAYERS,
    SLOPE,
    ResidualBlock,
    VocoderLayers,
    edge_convolution,
    render_stages,
    same_convolution,
)
from ultimate_rvc.rvc.networks.padding import Valid, clear_tails

INTERPOLATING_RATE = (
    24_000  # MockingBird's models of this rate repeat samples instead of transposing convolutions
)


@dataclass(frozen=True)
class HiFiGANSizes:
    """Every size of a generator; the defaults are those of MockingBird's ``config_16k_.json``."""

    sample_rate: int = 16_000
    mels: int = 80
    rates: tuple[int, ...] = (5, 5, 4, 2)
    kernels: tuple[int, ...] = (10, 10, 8, 4)
    channels: int = 512
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    block_kind: str = "1"
    inner: float = 1.0
    """The share of inner channels of the residual blocks that pruning left."""

    @property
    def hop_length(self) -> int:
        """Samples for one frame."""
        return math.prod(self.rates)

    def stage_channels(self, stage: int) -> int:
        """Channels after a stage, 0-based; -1 is before the first."""
        return self.channels >> (stage + 1)

    @property
    def interpolates(self) -> bool:
        return self.sample_rate == INTERPOLATING_RATE


class SingleBlock(nn.Module):
    """The smaller residual block of HiFi-GAN ("2"): dilated convolutions, each with a way around it.

    (batch, channels, samples) to the same.
    """

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(same_convolution(channels, kernel, dilation) for dilation in dilations)

    def forward(self, hidden: Tensor, valid: Valid) -> Tensor:
        for convolution in self.convs:
            hidden = hidden + convolution(clear_tails(F.leaky_relu(hidden, SLOPE), valid))
        return hidden


class PlainHiFiGAN(nn.Module):
    """(batch, mels, frames) to (batch, 1, samples) in [-1, 1]."""

    def __init__(self, sizes: HiFiGANSizes) -> None:
        super().__init__()
        self.sizes = sizes
        stages = range(len(sizes.rates))
        self.conv_pre = edge_convolution(sizes.mels, sizes.channels)
        self.ups = nn.ModuleList(_upsampler(sizes, stage) for stage in stages)
        self.resblocks = nn.ModuleList(
            _block(sizes, sizes.stage_channels(stage), kernel, dilations)
            for stage in stages
            for kernel, dilations in zip(sizes.block_kernels, sizes.block_dilations, strict=True)
        )
        self.conv_post = edge_convolution(sizes.stage_channels(stages[-1]), 1)

    @property
    def fits_compiled_layers(self) -> bool:
        """Whether RVC's compiled layers can compute it: they know transposed convolutions and whole pairs."""
        return not self.sizes.interpolates and self.sizes.block_kind == "1" and self.sizes.inner == 1

    def forward(self, mel: Tensor, lengths: Valid = None, layers: VocoderLayers = PLAIN_LAYERS) -> Tensor:
        """``lengths`` are the frames of each item; what lies behind them in ``mel`` is cleared in place."""
        count = len(self.sizes.block_kernels)
        groups = [self.resblocks[start : start + count] for start in range(0, len(self.resblocks), count)]
        stages = (self.sizes.rates, self.ups, None, groups)
        hidden = self.conv_pre(clear_tails(mel, lengths))
        return render_stages(hidden, None, stages, self.conv_post, lengths, layers)


def _upsampler(sizes: HiFiGANSizes, stage: int) -> nn.Module:
    rate, kernel = sizes.rates[stage], sizes.kernels[stage]
    inputs, outputs = sizes.stage_channels(stage - 1), sizes.stage_channels(stage)
    if sizes.interpolates:
        convolution = nn.Conv1d(inputs, outputs, kernel, padding=(kernel - 1) // 2)
        return nn.Sequential(nn.Upsample(scale_factor=rate), convolution)
    # Exactly ``rate`` samples for one, as kernels are twice the rate.
    return nn.ConvTranspose1d(
        inputs, outputs, kernel, stride=rate, padding=rate // 2 + rate % 2, output_padding=rate % 2
    )


def _block(sizes: HiFiGANSizes, channels: int, kernel: int, dilations: tuple[int, ...]) -> nn.Module:
    if sizes.block_kind != "1":
        return SingleBlock(channels, kernel, dilations)
    block = ResidualBlock(channels, kernel, dilations)
    if sizes.inner < 1:
        narrow = inner_channels(channels, sizes.inner)
        for index, (dilated, plain) in enumerate(block.pairs):
            width, dilation = dilated.kernel_size[0], dilated.dilation[0]
            padding = dilation * (width - 1) // 2
            block.convs1[index] = nn.Conv1d(channels, narrow, width, dilation=dilation, padding=padding)
            block.convs2[index] = nn.Conv1d(narrow, channels, width, padding=plain.padding[0])
    return block


def inner_channels(channels: int, share: float) -> int:
    """How many of ``channels`` are left between the two convolutions of a pair."""
    return max(1, round(channels * share))

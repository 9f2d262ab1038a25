"""HiFi-GAN, the vocoder of nearly every RVC voice: with a harmonic source (NSF) or, without f0, plain.

Kong et al., "HiFi-GAN" (2020); Wang et al., "Neural source-filter waveform models" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid, clear_tails, scaled
from ultimate_rvc.rvc.networks.sine_source import SineSource

SLOPE = 0.1
FINAL_SLOPE = 0.01
EDGE_KERNEL = 7  # of the first and the last convolution


class ResidualPairs(Protocol):
    """A residual block: pairs of convolutions, each with a way around it."""

    slope: float  # of the leaky ReLU before each convolution

    @property
    def pairs(self) -> list[tuple[nn.Conv1d, nn.Conv1d]]:
        """The dilated and the plain convolution of each pair; all keep channels and length."""

    def __call__(self, hidden: Tensor, valid: Valid) -> Tensor:
        """Return a tensor of the shape of ``hidden``, (batch, channels, samples)."""


class VocoderLayers(Protocol):
    """A way to compute the layers of a vocoder; all give the same numbers."""

    def upsample(
        self,
        hidden: Tensor,
        upsampler: nn.ConvTranspose1d,
        source: Tensor | None,
        source_conv: nn.Conv1d | None,
    ) -> Tensor:
        """Return hidden (batch, channels, samples) upsampled, plus the convolution of the source, if any."""

    def mean_of_blocks(self, hidden: Tensor, blocks: Sequence[ResidualPairs], valid: Valid) -> Tensor:
        """Return the mean of what residual blocks make of hidden (batch, channels, samples)."""

    def output(self, hidden: Tensor, convolution: nn.Conv1d) -> Tensor:
        """Return the last convolution of ``hidden``, (batch, 1, samples)."""


class PlainLayers:
    """``VocoderLayers`` as torch computes them."""

    def upsample(
        self,
        hidden: Tensor,
        upsampler: nn.ConvTranspose1d,
        source: Tensor | None,
        source_conv: nn.Conv1d | None,
    ) -> Tensor:
        upsampled: Tensor = upsampler(hidden)
        # In place: a sum of its own would be one more of the widest tensors.
        return upsampled if source_conv is None else upsampled.add_(source_conv(source))

    def mean_of_blocks(self, hidden: Tensor, blocks: Sequence[ResidualPairs], valid: Valid) -> Tensor:
        total = blocks[0](hidden, valid)
        for block in blocks[1:]:  # one block's output is held at a time
            total = total + block(hidden, valid)
        return total / len(blocks)

    def output(self, hidden: Tensor, convolution: nn.Conv1d) -> Tensor:
        waveform: Tensor = convolution(hidden)
        return waveform


PLAIN_LAYERS = PlainLayers()


class HiFiGAN(nn.Module):
    """Latent frames (and a harmonic source) to a waveform."""

    draws_noise = False  # but for its source

    def __init__(self, config: SynthesizerConfig, *, has_f0: bool) -> None:
        super().__init__()
        stages = range(len(config.upsample_rates))
        self.rates = config.upsample_rates
        self.hop_length = config.hop_length
        self.context_frames = context_frames(config)
        if has_f0:
            self.m_source = SineSource(config.sample_rate, config.hop_length, harmonics=1)
            self.noise_convs = nn.ModuleList(source_convolution(config, stage) for stage in stages)
        self.conv_pre = edge_convolution(config.inter_channels, config.stage_channels(-1))
        self.cond = nn.Conv1d(config.speaker_channels, config.stage_channels(-1), 1)
        self.ups = nn.ModuleList(upsampler(config, stage) for stage in stages)
        self.resblocks = nn.ModuleList(
            ResidualBlock(config.stage_channels(stage), kernel_size, dilations)
            for stage in stages
            for kernel_size, dilations in config.resblocks
        )
        self.conv_post = edge_convolution(config.stage_channels(stages[-1]), 1, bias=False)

    def excitation(self, f0_hz: Tensor, noise: Noise, valid: Valid = None) -> Tensor:
        """Return the harmonic source (batch, 1, samples) for f0_hz (batch, frames)."""
        source: Tensor = self.m_source(f0_hz, noise)
        return source

    def forward(
        self,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
        layers: VocoderLayers = PLAIN_LAYERS,
    ) -> Tensor:
        """Render latent (batch, inter_channels, frames) to (batch, 1, samples).

        Any run of frames may be rendered alone with its slice of the source: ``context_frames`` more on
        either side make the middle equal to a render of the whole. What ``latent`` and ``source`` hold
        behind the ends in ``valid`` is cleared in place.
        """
        hidden = self.conv_pre(clear_tails(latent, valid)) + self.cond(speaker)
        if source is not None:
            clear_tails(source, scaled(valid, self.hop_length))
        per_stage = len(self.resblocks) // len(self.ups)
        blocks = [
            self.resblocks[start : start + per_stage] for start in range(0, len(self.resblocks), per_stage)
        ]
        source_convs = None if source is None else self.noise_convs
        stages = (self.rates, self.ups, source_convs, blocks)
        return render_stages(hidden, source, stages, self.conv_post, valid, layers)


class ResidualBlock(nn.Module):
    """Three pairs of convolutions, the first of each dilated, each pair with a way around it.

    (batch, channels, samples) to the same.
    """

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], slope: float = SLOPE) -> None:
        super().__init__()
        self.slope = slope
        self.convs1 = nn.ModuleList(same_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(same_convolution(channels, kernel, 1) for _ in dilations)

    @property
    def pairs(self) -> list[tuple[nn.Conv1d, nn.Conv1d]]:
        """Dilated and plain convolutions."""
        return cast("list[tuple[nn.Conv1d, nn.Conv1d]]", list(zip(self.convs1, self.convs2, strict=True)))

    def forward(self, hidden: Tensor, valid: Valid) -> Tensor:
        for dilated, plain in self.pairs:
            hidden = residual_pair(hidden, dilated, plain, self.slope, valid)
        return hidden


def edge_convolution(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv1d:
    """Return a convolution of the kind that a vocoder begins and ends with: it keeps the length."""
    return nn.Conv1d(inputs, outputs, EDGE_KERNEL, padding=EDGE_KERNEL // 2, bias=bias)


def same_convolution(channels: int, kernel_size: int, dilation: int) -> nn.Conv1d:
    """Return a convolution that keeps channels and length."""
    return nn.Conv1d(
        channels, channels, kernel_size, dilation=dilation, padding=dilation * (kernel_size - 1) // 2
    )


def upsampler(config: SynthesizerConfig, stage: int) -> nn.ConvTranspose1d:
    """Return the transposed convolution of a stage: exactly ``rate`` samples for one."""
    rate, kernel_size = config.upsample_rates[stage], config.upsample_kernel_sizes[stage]
    surplus = kernel_size - rate  # odd only for odd rates, which some 44.1 kHz voices have
    return nn.ConvTranspose1d(
        config.stage_channels(stage - 1),
        config.stage_channels(stage),
        kernel_size,
        stride=rate,
        padding=(surplus + 1) // 2,
        output_padding=surplus % 2,
    )


def source_convolution(config: SynthesizerConfig, stage: int) -> nn.Conv1d:
    """Return the convolution that brings the source down to the rate of a stage."""
    stride = config.source_stride(stage)
    if stride == 1:
        return nn.Conv1d(1, config.stage_channels(stage), 1)
    kernel_size = 2 * stride - stride % 2
    return nn.Conv1d(
        1, config.stage_channels(stage), kernel_size, stride=stride, padding=(kernel_size - stride) // 2
    )


def residual_pair(hidden: Tensor, dilated: nn.Module, plain: nn.Module, slope: float, valid: Valid) -> Tensor:
    """Return hidden (batch, channels, samples) plus two convolutions of it, each after a leaky ReLU."""
    branch = dilated(clear_tails(F.leaky_relu(hidden, slope), valid))
    branch = plain(clear_tails(F.leaky_relu(branch, slope), valid))
    output: Tensor = hidden + branch
    return output


def render_stages(
    hidden: Tensor,
    source: Tensor | None,
    stages: tuple[Sequence[int], nn.ModuleList, nn.ModuleList | None, Iterable[nn.ModuleList]],
    conv_post: nn.Conv1d,
    valid: Valid,
    layers: VocoderLayers,
) -> Tensor:
    """Upsample stage by stage: transposed convolution, source added, mean of the residual blocks.

    From hidden (batch, channels, frames) and source (batch, 1, samples) to the waveform (batch, 1, samples),
    in [-1, 1]; each stage halves the channels. ``stages`` are rates, upsamplers, convolutions of the source
    and residual blocks.
    """
    rates, upsamplers, source_convs, block_groups = stages
    convs = [None] * len(rates) if source_convs is None else cast("list[nn.Conv1d]", list(source_convs))
    for rate, upsampler, source_conv, blocks in zip(rates, upsamplers, convs, block_groups, strict=True):
        # Nothing of the narrower stage is held while the blocks run.
        hidden = clear_tails(F.leaky_relu(hidden, SLOPE), valid)
        hidden = layers.upsample(hidden, cast("nn.ConvTranspose1d", upsampler), source, source_conv)
        valid = scaled(valid, rate)
        hidden = layers.mean_of_blocks(hidden, cast("list[ResidualPairs]", list(blocks)), valid)
    activated = clear_tails(F.leaky_relu(hidden, FINAL_SLOPE), valid)
    return clear_tails(torch.tanh(layers.output(activated, conv_post)), valid)


def residual_reach(config: SynthesizerConfig) -> int:
    """Return how many samples to either side the widest residual block looks."""
    return max(
        sum((dilation + 1) * (kernel_size // 2) for dilation in dilations)
        for kernel_size, dilations in config.resblocks
    )


def context_frames(config: SynthesizerConfig) -> int:
    """Return how many frames to either side an output sample can depend on, through the latent or the source.

    Walks from the waveform back, widening the reach at every layer.
    """
    reach = EDGE_KERNEL // 2
    source_reach = 0
    for stage in reversed(range(len(config.upsample_rates))):
        rate, kernel_size = config.upsample_rates[stage], config.upsample_kernel_sizes[stage]
        reach += residual_reach(config)
        source_reach = max(source_reach, (reach + 1) * config.source_stride(stage))
        padding = (kernel_size - rate + 1) // 2
        reach = math.ceil((reach + max(padding, kernel_size - 1 - padding)) / rate)
    return max(reach + EDGE_KERNEL // 2, math.ceil(source_reach / config.hop_length))

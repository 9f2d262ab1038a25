"""RefineGAN, Applio's other vocoder: the source is brought down to the frame rate and refined upwards.

Xu et al., "RefineGAN: Universally Generating Waveform Better than Ground Truth with Highly Accurate
Pitch and Intensity Responses" (2021), in the form Applio trains.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.hifigan import (
    EDGE_KERNEL,
    PLAIN_LAYERS,
    ResidualBlock,
    VocoderLayers,
    edge_convolution,
    residual_reach,
)
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid, clear_tails, hold_ends, scaled
from ultimate_rvc.rvc.networks.sine_source import gliding_phase, noisy_sines

SLOPE = 0.2
# The resampler's filter (a Kaiser-windowed sinc, the values of resampy's "kaiser_best").
LOWPASS_WIDTH = 64  # zero crossings to either side
ROLLOFF = 0.9475937167399596
KAISER_BETA = 14.769656459379492


class RefineGAN(nn.Module):
    """Latent frames and a sine source to a waveform.

    Raises
    ------
    VoiceFileError
        When the channels cannot be halved once more than there are stages, for the skips.
    """

    draws_noise = True

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        if config.upsample_initial_channel % 2 ** (len(config.upsample_rates) + 1) != 0:
            raise VoiceFileError(
                f"The voice's config has {config.upsample_initial_channel} initial channels, which RefineGAN "
                f"cannot halve {len(config.upsample_rates) + 1} times; the file is damaged."
            )
        stages = range(len(config.upsample_rates))
        self.rates = config.upsample_rates
        self.hop_length = config.hop_length
        self.context_frames = context_frames(config)
        self.m_source = GlidingSource(config.sample_rate, config.hop_length)
        # The skip of each stage has a quarter of the channels that the stage takes in.
        skip_channels = [config.stage_channels(stage) // 2 for stage in reversed(stages)]
        self.pre_conv = edge_convolution(1, skip_channels[0])
        self.downsample_blocks = nn.ModuleList(
            edge_convolution(channels, 2 * channels) for channels in skip_channels
        )
        self.downsamplers = nn.ModuleList(Downsampler(rate) for rate in reversed(self.rates))
        entry_channels = config.stage_channels(0)
        self.mel_conv = edge_convolution(config.inter_channels, entry_channels)
        self.cond = nn.Conv1d(config.speaker_channels, entry_channels, 1)
        self.upsample_conv_blocks = nn.ModuleList(
            ParallelResidualBlock(
                config.stage_channels(stage - 1) + config.stage_channels(stage) // 2,
                config.stage_channels(stage),
                config.resblocks,
            )
            for stage in stages
        )
        self.conv_post = edge_convolution(config.stage_channels(stages[-1]), 1, bias=False)

    def excitation(self, f0_hz: Tensor, noise: Noise, valid: Valid = None) -> Tensor:
        """Return the sine source (batch, 1, samples) for f0_hz (batch, frames), f0 gliding between frames."""
        source: Tensor = self.m_source(f0_hz, noise, valid)
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

        ``noise`` drives the small random numbers inside every residual block. Without them a run of frames
        may be rendered alone, ``context_frames`` wider on either side.
        """
        assert source is not None
        skips, deepest = self._descend(source, scaled(valid, self.hop_length))
        entry = self.mel_conv(clear_tails(latent, valid)) + self.cond(speaker)
        hidden = torch.cat((entry, deepest), dim=1)
        for rate, block, skip in zip(self.rates, self.upsample_conv_blocks, reversed(skips), strict=True):
            hidden = hold_ends(F.leaky_relu(hidden, SLOPE), valid)
            hidden = F.interpolate(hidden, scale_factor=float(rate), mode="linear")
            valid = scaled(valid, rate)
            hidden = block(torch.cat((hidden, skip), dim=1), noise, valid, layers)
        waveform = torch.tanh(self.conv_post(clear_tails(F.leaky_relu(hidden, SLOPE), valid)))
        return clear_tails(waveform, valid)

    def _descend(self, source: Tensor, valid: Valid) -> tuple[list[Tensor], Tensor]:
        """Return the skip of every stage, at the output rate first, and what arrives at the frame rate."""
        hidden = self.pre_conv(clear_tails(source, valid))
        skips = []
        for downsample, convolution in zip(self.downsamplers, self.downsample_blocks, strict=True):
            hidden = clear_tails(F.leaky_relu(hidden, SLOPE), valid)
            skips.append(hidden)
            assert isinstance(downsample, Downsampler)
            valid = None if valid is None else tuple(length // downsample.rate for length in valid)
            hidden = convolution(clear_tails(downsample(hidden), valid))
        return skips, hidden


class GlidingSource(nn.Module):
    """One sine whose f0 glides linearly from frame to frame."""

    def __init__(self, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self.merge = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh())

    def forward(self, f0_hz: Tensor, noise: Noise, valid: Valid) -> Tensor:
        """Return the source (batch, 1, frames * hop_length) for f0_hz (batch, frames), 0 = unvoiced."""
        held = hold_ends(f0_hz.clone(), valid)[:, None]
        gliding = F.interpolate(held, scale_factor=float(self.hop_length), mode="linear")[:, 0]
        phase = gliding_phase(gliding, self.hop_length, self.sample_rate)
        sines = noisy_sines(phase, gliding > 0, 1, noise)
        source: Tensor = self.merge(sines.to(next(self.merge.parameters()).dtype))
        return source.transpose(1, 2)


class Downsampler(nn.Module):
    """Every ``rate``-th sample after a windowed-sinc low pass, channel by channel.

    (batch, channels, samples) to (batch, channels, samples / rate).
    """

    kernel: Tensor

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate
        self.reach = downsampler_reach(rate)
        self.register_buffer("kernel", torch.from_numpy(lowpass_kernel(rate))[None, None], persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, channels, samples = hidden.shape
        padded = F.pad(hidden.reshape(batch * channels, 1, samples), (self.reach, self.reach))
        return F.conv1d(padded, self.kernel, stride=self.rate).reshape(batch, channels, -1)


class ParallelResidualBlock(nn.Module):
    """A convolution, then the mean of residual blocks with different kernels, each between two noises.

    (batch, in_channels, samples) to (batch, out_channels, samples).
    """

    def __init__(
        self, in_channels: int, out_channels: int, resblocks: list[tuple[int, tuple[int, ...]]]
    ) -> None:
        super().__init__()
        self.input_conv = edge_convolution(in_channels, out_channels)
        # Files name the three parts of each branch 0, 1 and 2.
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                (
                    NoiseInjection(out_channels),
                    ResidualBlock(out_channels, kernel_size, dilations, SLOPE),
                    NoiseInjection(out_channels),
                )
            )
            for kernel_size, dilations in resblocks
        )

    def forward(self, hidden: Tensor, noise: Noise, valid: Valid, layers: VocoderLayers) -> Tensor:
        hidden = self.input_conv(clear_tails(hidden, valid))
        total = torch.zeros_like(hidden)
        for branch in self.blocks:
            assert isinstance(branch, nn.ModuleList)
            before, residual, after = branch
            assert isinstance(residual, ResidualBlock)
            total = total + after(layers.mean_of_blocks(before(hidden, noise), [residual], valid), noise)
        return total / len(self.blocks)


class NoiseInjection(nn.Module):
    """Random numbers weighted per channel, then a leaky ReLU (Applio calls it AdaIN).

    (batch, channels, samples) to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 1e-4))

    def forward(self, hidden: Tensor, noise: Noise) -> Tensor:
        drawn = noise.normal(tuple(hidden.shape), hidden, time_dim=2)
        if drawn is not None:
            hidden = hidden + drawn * self.weight[:, None]
        return F.leaky_relu(hidden, SLOPE)


def downsampler_reach(rate: int) -> int:
    """Return how many samples to either side the low pass looks."""
    return math.ceil(LOWPASS_WIDTH * rate / ROLLOFF)


def lowpass_kernel(rate: int) -> NDArray[np.float32]:
    """Return the low pass (2 * reach + 1,) for keeping one sample in ``rate``: a Kaiser-windowed sinc of gain 1."""
    reach = downsampler_reach(rate)
    crossings = np.clip(np.arange(-reach, reach + 1) * ROLLOFF / rate, -LOWPASS_WIDTH, LOWPASS_WIDTH)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (crossings / LOWPASS_WIDTH) ** 2)) / np.i0(KAISER_BETA)
    kernel: NDArray[np.float64] = ROLLOFF / rate * np.sinc(crossings) * window
    return kernel.astype(np.float32)


def context_frames(config: SynthesizerConfig) -> int:
    """Return how many frames to either side an output sample can depend on."""
    edge = EDGE_KERNEL // 2
    reach = edge
    source_reach = 0
    for stage in reversed(range(len(config.upsample_rates))):
        reach += residual_reach(config) + edge
        source_reach = max(source_reach, _source_reach(config, stage + 1, reach))
        reach = math.ceil(reach / config.upsample_rates[stage]) + 1
    source_reach = max(source_reach, _source_reach(config, 0, reach))
    return max(reach + edge, math.ceil(source_reach / config.hop_length))


def _source_reach(config: SynthesizerConfig, stages: int, reach: int) -> int:
    """Return the reach in source samples of ``reach`` samples after ``stages`` upsamplings."""
    for rate in config.upsample_rates[stages:]:
        reach = (reach + EDGE_KERNEL // 2) * rate + downsampler_reach(rate)
    return reach + EDGE_KERNEL // 2

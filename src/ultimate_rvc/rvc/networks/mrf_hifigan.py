"""MRF HiFi-GAN, Applio's variant: nine harmonics in the source, other layer names, a bias at the end."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.hifigan import (
    PLAIN_LAYERS,
    SLOPE,
    VocoderLayers,
    context_frames,
    edge_convolution,
    render_stages,
    residual_pair,
    same_convolution,
    source_convolution,
    upsampler,
)
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid, clear_tails, scaled
from ultimate_rvc.rvc.networks.sine_source import SineSource

HARMONICS = 9  # the fundamental and eight overtones


class MRFHiFiGAN(nn.Module):
    """Latent frames and a source of nine sines to a waveform."""

    draws_noise = False  # but for its source

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        stages = range(len(config.upsample_rates))
        self.rates = config.upsample_rates
        self.hop_length = config.hop_length
        self.context_frames = context_frames(config)
        self.m_source = SineSource(config.sample_rate, config.hop_length, harmonics=HARMONICS)
        self.conv_pre = edge_convolution(config.inter_channels, config.stage_channels(-1))
        self.cond = nn.Conv1d(config.speaker_channels, config.stage_channels(-1), 1)
        self.upsamples = nn.ModuleList(upsampler(config, stage) for stage in stages)
        self.noise_convs = nn.ModuleList(source_convolution(config, stage) for stage in stages)
        self.mrfs = nn.ModuleList(
            nn.ModuleList(
                MRFBlock(config.stage_channels(stage), kernel_size, dilations)
                for kernel_size, dilations in config.resblocks
            )
            for stage in stages
        )
        self.conv_post = edge_convolution(config.stage_channels(stages[-1]), 1)

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
        """Render latent (batch, inter_channels, frames) to (batch, 1, samples); see ``HiFiGAN.forward``."""
        assert source is not None
        clear_tails(source, scaled(valid, self.hop_length))
        hidden = self.conv_pre(clear_tails(latent, valid)) + self.cond(speaker)
        blocks = [cast("nn.ModuleList", group) for group in self.mrfs]
        stages = (self.rates, self.upsamples, self.noise_convs, blocks)
        return render_stages(hidden, source, stages, self.conv_post, valid, layers)


class MRFBlock(nn.Module):
    """A HiFi-GAN residual block under other names: (batch, channels, samples) to the same."""

    slope = SLOPE

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "conv1": same_convolution(channels, kernel_size, dilation),
                    "conv2": same_convolution(channels, kernel_size, 1),
                }
            )
            for dilation in dilations
        )

    @property
    def pairs(self) -> list[tuple[nn.Conv1d, nn.Conv1d]]:
        """Dilated and plain convolutions."""
        layers = cast("list[nn.ModuleDict]", list(self.layers))
        return [cast("tuple[nn.Conv1d, nn.Conv1d]", tuple(layer.values())) for layer in layers]

    def forward(self, hidden: Tensor, valid: Valid) -> Tensor:
        for dilated, plain in self.pairs:
            hidden = residual_pair(hidden, dilated, plain, SLOPE, valid)
        return hidden

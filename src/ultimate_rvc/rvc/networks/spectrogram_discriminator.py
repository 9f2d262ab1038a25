"""The discriminator of RefineGAN's trainings that looks at spectrograms.

Jang et al., "UnivNet: A Neural Vocoder with Multi-Resolution Spectrogram Discriminators" (2021); layers
are named as in Applio's published ``D_*.pth`` files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.training_state import norm_weights
from ultimate_rvc.rvc.networks.waveform_discriminators import Judgement, judged, scaled_channels

CHANNELS = 32
STRIDES = (1, 2, 2, 2)  # along time, of the convolutions with the long kernel


@dataclass(frozen=True)
class Resolution:
    """Sizes of a short-time Fourier transform in samples."""

    n_fft: int
    hop_length: int
    window_length: int


class SpectrogramDiscriminator(nn.Module):
    """Convolutions over magnitudes at one resolution (``DiscriminatorR``)."""

    window: Tensor

    def __init__(self, resolution: Resolution, width: float = 1.0) -> None:
        super().__init__()
        self.resolution = resolution
        channels = scaled_channels(CHANNELS, width)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if index else 1, channels, (3, 9), (1, stride), (1, 4))
            for index, stride in enumerate(STRIDES)
        )
        self.convs.append(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1)))
        self.conv_post = nn.Conv2d(channels, 1, (3, 3), padding=(1, 1))
        norm_weights(self, lambda layer: True)
        # Published weights were trained with a rectangle for a window.
        self.register_buffer("window", torch.ones(resolution.window_length), persistent=False)

    def forward(self, waveform: Tensor) -> Judgement:
        """Judge waveform (batch, 1, samples)."""
        return judged(self.magnitudes(waveform)[:, None], self.convs, self.conv_post)

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """Magnitudes (batch, n_fft / 2 + 1, frames) in float32, which half precision could not hold.

        ``waveform`` is (batch, 1, samples).
        """
        sizes = self.resolution
        margin = (sizes.n_fft - sizes.hop_length) // 2
        padded = F.pad(waveform.float(), (margin, margin), "reflect")[:, 0]
        spectrum = torch.stft(
            padded,
            sizes.n_fft,
            sizes.hop_length,
            sizes.window_length,
            self.window,
            center=False,
            return_complex=True,
        )
        magnitudes: Tensor = torch.linalg.vector_norm(torch.view_as_real(spectrum), dim=-1)
        return magnitudes

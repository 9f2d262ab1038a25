"""What a vocoder network is, and which one stands behind which name."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.hifigan import PLAIN_LAYERS, HiFiGAN, VocoderLayers
from ultimate_rvc.rvc.networks.mrf_hifigan import MRFHiFiGAN
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.refinegan import RefineGAN


class VocoderNetwork(Protocol):
    """Latent frames and a source to a waveform, the whole or any run of frames."""

    hop_length: int  # samples per frame
    context_frames: int  # to either side, that make the middle of a tile equal to a render of the whole
    draws_noise: bool  # whether it draws random numbers beyond those of its source

    def excitation(self, f0_hz: Tensor, noise: Noise, valid: Valid = None) -> Tensor:
        """Return the source (batch, 1, samples) for f0_hz (batch, frames), 0 = unvoiced."""

    def __call__(
        self,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
        layers: VocoderLayers = PLAIN_LAYERS,
    ) -> Tensor:
        """Return the waveform (batch, 1, samples), in [-1, 1].

        ``latent`` (batch, inter_channels, frames), ``source`` (batch, 1, samples), ``speaker``
        (batch, speaker_channels, 1).
        """


class VocoderRender(Protocol):
    """A way to run a vocoder over a window; all give the same sound."""

    def __call__(
        self,
        vocoder: VocoderNetwork,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
    ) -> Tensor:
        """Return the waveform (batch, 1, samples), as the vocoder itself."""


def render_whole(
    vocoder: VocoderNetwork,
    latent: Tensor,
    source: Tensor | None,
    speaker: Tensor,
    noise: Noise,
    valid: Valid = None,
) -> Tensor:
    """Run the vocoder once over everything; returns the waveform (batch, 1, samples)."""
    return vocoder(latent, source, speaker, noise, valid)


def build_vocoder(config: SynthesizerConfig, vocoder: Vocoder, *, has_f0: bool) -> nn.Module:
    """Return the network for a voice's vocoder, a ``VocoderNetwork``.

    Raises
    ------
    VoiceFileError
        For a vocoder that cannot work without f0 in a voice without f0.
    """
    if vocoder is Vocoder.HIFI_GAN:
        return HiFiGAN(config, has_f0=has_f0)
    if not has_f0:
        raise VoiceFileError(f"The voice says it has no f0, but its vocoder {vocoder} cannot work without.")
    return MRFHiFiGAN(config) if vocoder is Vocoder.MRF_HIFI_GAN else RefineGAN(config)

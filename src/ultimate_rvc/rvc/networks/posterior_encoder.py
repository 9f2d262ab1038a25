"""The posterior encoder (``enc_q``): a recording's spectrogram to its latent. Only training needs it."""

from __future__ import annotations

from torch import Tensor, nn

from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.wavenet import WaveNet

WAVENET_LAYERS = 16


class PosteriorEncoder(nn.Module):
    """Linear magnitudes of a recording to a sample of its latent, steered by the speaker vector."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        self.pre = nn.Conv1d(config.spec_channels, config.hidden_channels, 1)
        self.enc = WaveNet(
            config.hidden_channels, layers=WAVENET_LAYERS, speaker_channels=config.speaker_channels
        )
        self.proj = nn.Conv1d(config.hidden_channels, 2 * config.inter_channels, 1)

    def forward(
        self, spectrogram: Tensor, speaker: Tensor, mask: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode spectrogram (batch, spec_channels, frames) with speaker (batch, speaker_channels, 1).

        Returns
        -------
        sample, mean, log_deviation : Tensor (batch, inter_channels, frames)
            float32, and zero where ``mask`` (batch, 1, frames) is. Under ``noise`` of scale 0 the sample is
            the mean.
        """
        hidden = self.enc(self.pre(spectrogram) * mask, speaker, mask)
        mean, log_deviation = (self.proj(hidden).float() * mask).chunk(2, dim=1)
        return noise.sample(mean, log_deviation) * mask, mean, log_deviation

"""Spectrograms as RVC trains on them, and the distance between sounds that they give."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ultimate_rvc.audio.mel_filters import mel_filters

MAGNITUDE_FLOOR = 1e-6  # of the power, under the root: a gradient at silence
MEL_FLOOR = 1e-5  # before the logarithm

# Mel bands and window of each scale of RefineGAN's loss; the hop is a quarter of the window.
MULTI_SCALE_BANDS = (5, 10, 20, 40, 80, 160, 320)
MULTI_SCALE_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)


def spectrogram(waveform: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Linear magnitudes (..., n_fft / 2 + 1, samples // hop_length) of a waveform (..., samples).

    They are float32, at least 1e-3, one frame per hop; the window (Hann) is as long as the transform. The
    waveform has at least (n_fft - hop_length) / 2 + 1 samples; (batch, 1, samples) loses its middle dimension.
    """
    if waveform.dim() == 3:
        waveform = waveform[:, 0]
    waveform = waveform.float()
    margin = (n_fft - hop_length) // 2
    padded = F.pad(waveform.reshape(-1, 1, waveform.shape[-1]), (margin, margin), "reflect")[:, 0]
    power = _power(padded, n_fft, hop_length, center=False)
    magnitudes = torch.sqrt(power + MAGNITUDE_FLOOR)
    return magnitudes.reshape(*waveform.shape[:-1], *magnitudes.shape[-2:])


class MelSpectrogram:
    """Natural logarithm of mel bands (Slaney's, 0 Hz to half the sample rate)."""

    def __init__(self, sample_rate: int, *, n_fft: int, hop_length: int, mel_bands: int) -> None:
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.mel_bands = mel_bands

    def __call__(self, waveform: Tensor) -> Tensor:
        """Log mel bands (..., mel_bands, frames) of waveform (..., samples) or (batch, 1, samples)."""
        return self.of_magnitudes(spectrogram(waveform, self.n_fft, self.hop_length))

    def of_magnitudes(self, magnitudes: Tensor) -> Tensor:
        """Log mel bands of what ``spectrogram`` gives, (..., n_fft / 2 + 1, frames)."""
        bases = mel_bases(self.sample_rate, self.n_fft, self.mel_bands, magnitudes.device)
        with torch.autocast(magnitudes.device.type, enabled=False):  # halves would lose quiet bands
            return torch.log((bases @ magnitudes.float()).clamp_min(MEL_FLOOR))


def mel_loss(real_mel: Tensor, fake_mel: Tensor) -> Tensor:
    """Mean distance of two log mel spectrograms ``(batch, bands, frames)``."""
    return F.l1_loss(fake_mel.float(), real_mel.float())


class MultiScaleMelLoss:
    """Sum over seven resolutions of the mean distance of common-logarithm mel bands (RefineGAN's)."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compare real and fake (batch, 1, samples), of more than 1024 samples."""
        losses = [
            F.l1_loss(self._log_mel(fake, bands, window), self._log_mel(real, bands, window))
            for bands, window in zip(MULTI_SCALE_BANDS, MULTI_SCALE_WINDOWS, strict=True)
        ]
        return torch.stack(losses).sum()

    def _log_mel(self, waveform: Tensor, bands: int, window_length: int) -> Tensor:
        waveform = waveform[:, 0].float()
        power = _power(waveform, window_length, window_length // 4, center=True)
        bases = mel_bases(self.sample_rate, window_length, bands, waveform.device)
        with torch.autocast(waveform.device.type, enabled=False):
            return torch.log10((bases @ torch.sqrt(power + MAGNITUDE_FLOOR)).clamp_min(MEL_FLOOR))


def _power(waveform: Tensor, n_fft: int, hop_length: int, *, center: bool) -> Tensor:
    spectrum = torch.stft(
        waveform,
        n_fft,
        hop_length,
        window=hann_window(n_fft, waveform.device),
        center=center,
        return_complex=True,
    )
    return torch.view_as_real(spectrum).square().sum(-1)


@cache
def hann_window(length: int, device: torch.device) -> Tensor:
    """The periodic Hann window ``(length,)``, kept per device."""
    with torch.inference_mode(False):  # what is kept must serve gradients, whoever asks first
        return torch.hann_window(length, device=device)


@cache
def mel_bases(sample_rate: int, n_fft: int, bands: int, device: torch.device) -> Tensor:
    """Slaney's mel bands (bands, n_fft / 2 + 1), each of area 1, kept per device."""
    bases = mel_filters(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=bands, f_min_hz=0.0, f_max_hz=sample_rate / 2, htk=False
    )
    with torch.inference_mode(False):  # as above
        return torch.from_numpy(bases).to(device)

"""The log-mel spectrogram that RMVPE and FCPE listen to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.audio.mel_filters import mel_filters
from ultimate_rvc.rvc.pitch.method import HOP_LENGTH, SAMPLE_RATE, frame_count

N_FFT = 1024  # window and transform length, 64 ms
N_MELS = 128
LOWEST_MEL = 1e-5  # mel energies are raised to this before the logarithm


class LogMel(nn.Module):
    """Natural logarithm of 128 mel bands, one frame per 10 ms; the ends of the audio are mirrored.

    Bands from ``f_min_hz`` to ``f_max_hz`` on the mel scale of HTK or of Slaney, of equal area; ``power_floor`` is
    added to the power spectrum before its root is taken; the window of frame i begins ``samples_before`` samples
    before sample ``160 * i``.
    """

    window: Tensor
    basis: Tensor

    def __init__(
        self,
        *,
        f_min_hz: float,
        f_max_hz: float,
        htk: bool,
        power_floor: float = 0.0,
        samples_before: int = N_FFT // 2,
    ) -> None:
        super().__init__()
        basis = mel_filters(
            sample_rate=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, f_min_hz=f_min_hz, f_max_hz=f_max_hz, htk=htk
        )
        self.register_buffer("basis", torch.from_numpy(basis), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.power_floor = power_floor
        self.padding = (samples_before, N_FFT - samples_before)

    def forward(self, waveform_16k: Tensor) -> Tensor:
        """``(samples,)`` at 16 kHz to ``(128, samples // 160 + 1)``."""
        frames = frame_count(waveform_16k.shape[-1])
        # Only so many samples as there are can be mirrored; silence fills what is missing.
        missing = max(0, N_FFT - waveform_16k.shape[-1])
        mirrored = F.pad(F.pad(waveform_16k, (0, missing))[None], self.padding, mode="reflect")
        spectrum = torch.stft(
            mirrored, N_FFT, HOP_LENGTH, window=self.window, center=False, return_complex=True
        )[0, :, :frames]
        magnitude = (spectrum.real.square() + spectrum.imag.square() + self.power_floor).sqrt()
        return (self.basis @ magnitude).clamp(min=LOWEST_MEL).log()

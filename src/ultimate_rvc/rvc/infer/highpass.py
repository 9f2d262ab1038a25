"""The zero-phase high-pass in front of the engine: scipy's, block by block."""

from __future__ import annotations

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

HIGHPASS_ORDER = 5
HIGHPASS_HZ = 48  # removes DC and rumble below the f0 floor of 50 Hz
SAMPLE_RATE = 16_000
# The slowest pole decays by exp(-93 t); after 1 s nothing of float64's 53 bits is left.
SETTLING_SAMPLES = SAMPLE_RATE
BLOCK_SAMPLES = 60 * SAMPLE_RATE
DEFAULT_PADDING = 3 * (HIGHPASS_ORDER + 1)  # scipy's own: three times the coefficients


def odd_padding(samples: int) -> int:
    """Samples of odd padding; filtfilt refuses signals shorter than it, but 10 ms of audio is a job too."""
    return min(DEFAULT_PADDING, samples - 1)


class ScipyHighpass:
    """``scipy.signal.filtfilt`` in float64; block by block, so that memory does not grow.

    Inner block borders see a second of the neighbouring audio, after which the filter has forgotten
    everything; the ends of the file are scipy's own (odd padding).
    """

    def __init__(self) -> None:
        self._b, self._a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)

    def apply(self, waveform_16k: Tensor) -> Tensor:
        """Filter float32 ``(samples,)`` at 16 kHz; the result lies where the input does."""
        filtered = self._filter_in_blocks(waveform_16k.cpu().numpy())
        return torch.from_numpy(filtered).to(waveform_16k.device)

    def _filter_in_blocks(self, waveform_16k: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = len(waveform_16k)
        filtered = np.empty(samples, np.float32)
        for start in range(0, samples, BLOCK_SAMPLES):
            end = min(start + BLOCK_SAMPLES, samples)
            low, high = max(start - SETTLING_SAMPLES, 0), min(end + SETTLING_SAMPLES, samples)
            block = self._filter(waveform_16k[low:high].astype(np.float64))
            filtered[start:end] = block[start - low : end - low]
        return filtered

    def _filter(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        return scipy.signal.filtfilt(  # type: ignore[no-any-return]
            self._b, self._a, block, padlen=odd_padding(len(block))
        )

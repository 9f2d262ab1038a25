"""The zero-phase high-pass in front of the engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.signal
from numpy.typing import NDArray

HIGHPASS_ORDER = 5
HIGHPASS_HZ = 48  # removes DC and rumble below the f0 floor of 50 Hz
SAMPLE_RATE = 16_000
# The slowest pole decays by exp(-93 t); after 1 s nothing of float64's 53 bits is left.
SETTLING_SAMPLES = SAMPLE_RATE
BLOCK_SAMPLES = 60 * SAMPLE_RATE

FloatArray = NDArray[np.float32]


class ZeroPhaseFilter(Protocol):
    """The high-pass of RVC, run forwards and backwards over mono audio at 16 kHz."""

    def apply(self, waveform_16k: FloatArray) -> FloatArray: ...


class ScipyHighpass:
    """``scipy.signal.filtfilt`` in float64; block by block, so that memory does not grow.

    Inner block borders see a second of the neighbouring audio, after which the filter has forgotten
    everything; the ends of the file are scipy's own (odd padding).
    """

    def __init__(self) -> None:
        self._b, self._a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)

    def apply(self, waveform_16k: FloatArray) -> FloatArray:
        samples = len(waveform_16k)
        filtered = np.empty(samples, np.float32)
        for start in range(0, samples, BLOCK_SAMPLES):
            end = min(start + BLOCK_SAMPLES, samples)
            low, high = max(start - SETTLING_SAMPLES, 0), min(end + SETTLING_SAMPLES, samples)
            block = self._filter(waveform_16k[low:high].astype(np.float64))
            filtered[start:end] = block[start - low : end - low]
        return filtered

    def _filter(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        default_padding = 3 * max(len(self._a), len(self._b))
        # filtfilt refuses signals shorter than its padding, but 10 ms of audio is a job too.
        padding = min(default_padding, len(block) - 1)
        return scipy.signal.filtfilt(self._b, self._a, block, padlen=padding)  # type: ignore[no-any-return]

"""Up to which frequency does a recording reach? Not always to half its sample rate.

What was once sampled at a lower rate, or went through a lossy format, ends in a cliff.
"""

from __future__ import annotations

import numpy as np
import scipy.signal
from numpy.typing import NDArray

WINDOW_SECONDS = 0.04  # bins of 25 Hz
SMOOTH_BINS = 9
BEFORE_HZ, BEHIND_HZ = 500.0, 300.0  # a cliff is no wider than these together
CLIFF_DB = 22.0  # the sounds of a voice fall more slowly
LOWEST_CLIFF_HZ = 2500.0

FloatArray = NDArray[np.float32]


def bandwidth_hz(waveform: FloatArray, sample_rate: int) -> float:
    """Where the long-term spectrum of ``waveform`` ``(samples,)`` ends; half the sample rate without a cliff.

    The spectrum is taken of the whole recording in one pass, in frames of 40 ms without overlap.
    """
    window = round(WINDOW_SECONDS * sample_rate)
    if len(waveform) < window:
        return sample_rate / 2
    frames = waveform[: len(waveform) // window * window].reshape(-1, window)
    taper = scipy.signal.windows.hann(window).astype(np.float32)
    power = np.zeros(window // 2 + 1)
    for start in range(0, len(frames), 1024):
        power += np.square(np.abs(np.fft.rfft(frames[start : start + 1024] * taper))).sum(0)
    level_db = 10 * np.log10(np.convolve(power, np.ones(SMOOTH_BINS) / SMOOTH_BINS, "same") + 1e-20)
    return _cliff(level_db, sample_rate / window) or sample_rate / 2


def _cliff(level_db: NDArray[np.float64], bin_hz: float) -> float | None:
    """The first frequency above which everything is far below what is just under it."""
    highest_above = np.maximum.accumulate(level_db[::-1])[::-1]
    before, behind = round(BEFORE_HZ / bin_hz), round(BEHIND_HZ / bin_hz)
    for place in range(round(LOWEST_CLIFF_HZ / bin_hz), len(level_db) - behind):
        if level_db[place - before] - highest_above[place + behind] > CLIFF_DB:
            return float(place * bin_hz)
    return None

"""The loops of :mod:`ultimate_rvc.audio.true_peak`, compiled by numba: import this where they run."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@njit(cache=True, fastmath=True, nogil=True)  # type: ignore[untyped-decorator]
def raise_to_peaks_between(samples: FloatArray, phases: FloatArray, peaks: FloatArray) -> None:
    """Raise ``peaks`` ``(samples,)``: ``peaks[n]`` and ``peaks[n + 1]`` to the magnitudes found between the two."""
    half = phases.shape[1] // 2
    padded = np.zeros(len(samples) + 2 * half, np.float32)
    padded[half : half + len(samples)] = samples
    for n in range(len(samples)):
        highest = np.float32(0)
        for phase in range(phases.shape[0]):
            value = np.float32(0)
            for tap in range(phases.shape[1]):
                value += phases[phase, tap] * padded[n + 1 + tap]
            highest = max(highest, abs(value))
        peaks[n] = max(peaks[n], highest)
        if n + 1 < len(samples):
            peaks[n + 1] = max(peaks[n + 1], highest)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def release_and_smooth(gain: NDArray[np.float64], window: int, release: float) -> None:
    """In place: limit the rise of ``gain`` ``(samples,)``, then average it over the last ``window`` values."""
    recent = np.full(window, gain[0])
    held = gain[0]
    total = held * window
    for n in range(len(gain)):
        held = min(gain[n], 1 - (1 - held) * release)
        if held > 1 - 1e-7:
            held = 1.0
        slot = n % window
        total += held - recent[slot]
        recent[slot] = held
        gain[n] = min(total / window, 1.0)
        if slot == window - 1:  # a running sum gathers rounding errors: take it anew now and then
            total = recent.sum()

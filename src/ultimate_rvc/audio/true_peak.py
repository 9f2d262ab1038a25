"""True peaks (ITU-R BS.1770) and a limiter that keeps them below a ceiling.

scipy and numba take longer to import than a short conversion, which needs neither: functions that do
import them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

OVERSAMPLING = 4  # as BS.1770-4 asks at 44.1 and 48 kHz
OVERSAMPLED_RATE = 176_400  # from here on the samples themselves are dense enough
TAPS_PER_PHASE = 24  # twice the standard's table: flat within 0.02 dB up to 20 kHz at 44.1 kHz
KAISER_BETA = 7.0
LOOKAHEAD_SECONDS = 0.005  # how early the gain starts to fall: long enough not to distort bass
RELEASE_SECONDS = 0.1  # time constant with which it comes back


def true_peak(waveform: FloatArray, sample_rate: int) -> float:
    """Largest magnitude of the sound between its samples, as a linear value (1 is 0 dBTP).

    Measured on the signal oversampled 4 times (2 times from 88.2 kHz, not at all from 176.4 kHz),
    after ITU-R BS.1770-4 Annex 2. ``waveform`` is (channels, samples) or (samples,).
    """
    if waveform.size == 0:
        return 0.0
    return float(_true_peaks(np.atleast_2d(waveform), sample_rate).max())


def true_peak_of_blocks(blocks: Iterable[FloatArray], sample_rate: int) -> float:
    """As :func:`true_peak`, of a sound that comes in blocks ``(channels, samples)``."""
    loudest = at_end = 0.0
    before: FloatArray | None = None
    for block in blocks:
        # What lies between two samples depends on those around them: peaks near a block's end are found again with
        # the next block.
        joined = block if before is None else np.concatenate([before, block], axis=1)
        known = 0 if before is None else max(before.shape[1] - TAPS_PER_PHASE, 0)
        peaks = _true_peaks(joined, sample_rate)
        loudest = max(loudest, float(peaks[known:-TAPS_PER_PHASE].max(initial=0.0)))
        at_end = float(peaks[-TAPS_PER_PHASE:].max(initial=0.0))
        before = joined[:, -2 * TAPS_PER_PHASE :]
    return max(loudest, at_end)


def limit_true_peak(waveform: FloatArray, sample_rate: int, ceiling_dbtp: float = -0.1) -> FloatArray:
    """Turn loud moments down so that no true peak exceeds ``ceiling_dbtp``.

    All channels share one gain, which starts to fall 5 ms before a peak, reaches what it needs at the
    peak, and comes back with a time constant of 100 ms. What lies well below the ceiling, and is not
    within that time of a peak, is unchanged to the bit; a waveform that never exceeds it is itself returned.
    ``waveform`` is (channels, samples) or (samples,); the ceiling is in dB as :func:`true_peak` measures it.
    """
    ceiling = 10 ** (ceiling_dbtp / 20)
    if waveform.size == 0:
        return waveform
    channels = np.atleast_2d(waveform)
    peaks = _true_peaks(channels, sample_rate)
    if peaks.max() <= ceiling:
        return waveform
    lookahead = max(1, round(LOOKAHEAD_SECONDS * sample_rate))
    release = float(np.exp(-1 / (RELEASE_SECONDS * sample_rate)))
    limited: FloatArray = channels * _gain_curve(peaks, ceiling, lookahead, release)
    # The gain moves a little between the samples around a peak; what that leaves over is a rounding error.
    if (left := true_peak(limited, sample_rate)) > ceiling:
        limited *= np.float32(ceiling / left * (1 - 1e-6))
    return limited.reshape(waveform.shape)


def _true_peaks(channels: FloatArray, sample_rate: int) -> FloatArray:
    """At each sample, the largest magnitude of any channel between its neighbours; shape ``(samples,)``."""
    factor = OVERSAMPLING
    while factor > 1 and sample_rate * factor > OVERSAMPLED_RATE * 1.25:
        factor //= 2
    peaks: FloatArray = np.abs(channels).max(axis=0)
    if factor > 1:
        from ultimate_rvc.audio.true_peak_loops import raise_to_peaks_between

        phases = _interpolation_phases(factor)
        for channel in channels:
            raise_to_peaks_between(np.ascontiguousarray(channel, np.float32), phases, peaks)
    return peaks


def _interpolation_phases(factor: int) -> FloatArray:
    """Filters for the points 1/factor, 2/factor ... between two samples: ``(factor - 1, TAPS_PER_PHASE)``."""
    from scipy.signal import firwin

    taps = firwin(TAPS_PER_PHASE * factor + 1, 1 / factor, window=("kaiser", KAISER_BETA))
    # Tap k*factor + TAPS/2*factor sits on a sample; phase p reads the taps p steps beside it. Reversed,
    # so that the filter runs over the samples in their own order.
    phases: NDArray[np.float64] = np.stack(
        [taps[phase::factor][:TAPS_PER_PHASE][::-1] for phase in range(1, factor)]
    )
    normalised: FloatArray = (phases / phases.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised


def _gain_curve(peaks: FloatArray, ceiling: float, lookahead: int, release: float) -> FloatArray:
    """A smooth gain that is at every sample at most ``ceiling / peaks``.

    The largest peak of the coming ``lookahead`` samples sets a gain, which falls at once and rises
    slowly; the mean of the last ``lookahead + 1`` such gains is smooth, and since each of them is at
    most what the present sample needs, so is the mean.
    """
    from scipy.ndimage import maximum_filter1d

    from ultimate_rvc.audio.true_peak_loops import release_and_smooth

    coming = maximum_filter1d(peaks, lookahead + 1, origin=-((lookahead + 1) // 2), mode="constant")
    gain: NDArray[np.float64] = np.minimum(1, ceiling / np.maximum(coming.astype(np.float64), ceiling))
    release_and_smooth(gain, lookahead + 1, release)
    smooth: FloatArray = gain.astype(np.float32)
    return smooth

"""Triangular mel filters, as ``librosa.filters.mel`` makes them; importing that one takes seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]

# Slaney's scale is linear up to 1 kHz, which is 15 mels, and logarithmic above: 27 mels for a factor of 6.4.
SLANEY_HZ_PER_MEL = 200.0 / 3
SLANEY_BREAK_HZ = 1000.0
SLANEY_BREAK_MEL = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL
SLANEY_LOG_STEP = np.log(6.4) / 27.0


def mel_filters(
    *, sample_rate: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float, htk: bool
) -> FloatArray:
    """Weights (n_mels, n_fft // 2 + 1) that turn a spectrum into mel bands; all bands have the same area.

    The lowest band begins at ``f_min_hz``, the highest ends at ``f_max_hz``; the mel scale is that of HTK or
    that of Slaney's Auditory Toolbox.

    References
    ----------
    Slaney, "Auditory Toolbox: A MATLAB Toolbox for Auditory Modeling Work", 1998; Young et al., "The HTK
    Book", section 5.4.
    """
    corners_hz = _corners_hz(n_mels, f_min_hz, f_max_hz, htk)
    bins_hz = np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    widths_hz = np.diff(corners_hz)
    distances_hz = corners_hz[:, None] - bins_hz
    rising = -distances_hz[:-2] / widths_hz[:-1, None]
    falling = distances_hz[2:] / widths_hz[1:, None]
    triangles: FloatArray = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    triangles *= (2.0 / (corners_hz[2:] - corners_hz[:-2]))[:, None]
    return triangles


def _corners_hz(n_mels: int, f_min_hz: float, f_max_hz: float, htk: bool) -> DoubleArray:
    """Where bands begin, peak and end, evenly spaced in mel; band i has corners i, i + 1 and i + 2."""
    if htk:
        low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (f_min_hz, f_max_hz))
        return np.asarray(700.0 * (10.0 ** (np.linspace(low, high, n_mels + 2) / 2595.0) - 1.0))
    mels = np.linspace(_slaney_mel(f_min_hz), _slaney_mel(f_max_hz), n_mels + 2)
    above = np.maximum(mels - SLANEY_BREAK_MEL, 0.0)
    return np.where(above > 0, SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * above), SLANEY_HZ_PER_MEL * mels)


def _slaney_mel(hz: float) -> float:
    if hz < SLANEY_BREAK_HZ:
        return hz / SLANEY_HZ_PER_MEL
    return float(SLANEY_BREAK_MEL + np.log(hz / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP)

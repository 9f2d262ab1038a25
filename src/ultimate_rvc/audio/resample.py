"""Changing the sample rate."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def resample(waveform: FloatArray, from_rate: int, to_rate: int) -> FloatArray:
    """Resample the last axis at soxr's very high quality.

    Parameters
    ----------
    waveform : float32, shape (..., samples)
    from_rate, to_rate : int
        In Hz.

    Returns
    -------
    float32, shape (..., round(samples * to_rate / from_rate))
    """
    if from_rate == to_rate:
        return waveform
    length = round(waveform.shape[-1] * to_rate / from_rate)
    if length == 0 or waveform.shape[-1] == 0:
        return np.zeros((*waveform.shape[:-1], length), np.float32)
    # soxr wants (samples,) or (samples, channels), and may give one sample more or fewer.
    resampled = soxr.resample(np.ascontiguousarray(waveform.T), from_rate, to_rate, quality="VHQ").T
    missing = length - resampled.shape[-1]
    if missing > 0:
        resampled = np.pad(resampled, [(0, 0)] * (resampled.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(resampled[..., :length], dtype=np.float32)

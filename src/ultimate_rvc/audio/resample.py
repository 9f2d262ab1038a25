"""Changing the sample rate."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def resample(waveform: FloatArray, from_rate: int, to_rate: int) -> FloatArray:
    """Resample (..., samples) at soxr's very high quality to (..., round(samples * to_rate / from_rate)).

    At equal rates, in Hz, the input itself is returned; ValueError if one is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"Sample rates must be positive, not {from_rate} and {to_rate} Hz.")
    if from_rate == to_rate:
        return waveform
    length = round(waveform.shape[-1] * to_rate / from_rate)
    resampled = np.zeros((*waveform.shape[:-1], length), np.float32)
    if resampled.size == 0:
        return resampled
    # One channel at a time: soxr wants channels interleaved, which would copy all of them.
    for channel in np.ndindex(waveform.shape[:-1]):
        samples = np.ascontiguousarray(waveform[channel], np.float32)
        converted = soxr.resample(samples, from_rate, to_rate, quality="VHQ")[:length]
        resampled[channel][: len(converted)] = converted  # soxr may give one sample fewer
    return resampled

"""The silence that engines leave around what they read: pauses are made by who joins the passages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

QUIET = 10 ** (-46 / 20)  # of the peak: below is silence; breath and the ends of words are louder
KEPT_SECONDS = 0.03  # at each end, for the first and last sound fade


def without_silent_ends(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """``waveform`` (samples,) without silence at its ends, but for 30 ms; silence alone gives no samples."""
    level = np.abs(waveform)
    peak = float(level.max(initial=0.0))
    if peak == 0:
        return waveform[:0]
    loud = np.flatnonzero(level > QUIET * peak)
    kept = round(KEPT_SECONDS * sample_rate)
    return waveform[max(0, int(loud[0]) - kept) : int(loud[-1]) + 1 + kept]

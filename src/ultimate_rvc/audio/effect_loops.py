"""The loops of :mod:`ultimate_rvc.audio.effects`, compiled by numba: import this where they run."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DelayTable = NDArray[np.int64]

DENORMAL_LIMIT = 1e-20  # far below hearing; smaller numbers make processors slow


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def compressor_gain(
    magnitudes: FloatArray, threshold: float, exponent: float, attack: float, release: float
) -> FloatArray:
    """Gain ``(samples,)``: above the threshold the level grows ``ratio`` times slower, in decibels."""
    gain = np.ones(len(magnitudes), np.float32)
    level = 0.0
    for n in range(len(magnitudes)):
        magnitude = magnitudes[n]
        smoothing = attack if magnitude > level else release
        level = magnitude + (level - magnitude) * smoothing
        if level > threshold:
            gain[n] = (level / threshold) ** exponent
    return gain


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def add_room(
    mono: FloatArray,
    output: FloatArray,
    comb_delays: DelayTable,
    allpass_delays: DelayTable,
    comb_feedback: float,
    allpass_feedback: float,
    damping: float,
    wet_gain: float,
) -> None:
    """Add the reverberation of ``mono`` to ``output``, both ``(samples,)``, sample by sample.

    Comb: y[n] = b[n - D]; its echo passes a one-pole low-pass before it is fed back.
    All-pass: y[n] = b[n - D] - x[n]; b[n] = x[n] + b[n - D] * ``allpass_feedback``.
    """
    combs = np.zeros((len(comb_delays), comb_delays.max()))
    low_passed = np.zeros(len(comb_delays))
    comb_at = np.zeros(len(comb_delays), np.int64)
    allpasses = np.zeros((len(allpass_delays), allpass_delays.max()))
    allpass_at = np.zeros(len(allpass_delays), np.int64)
    for n in range(len(mono)):
        room = 0.0
        for comb in range(len(comb_delays)):
            position = comb_at[comb]
            echo = combs[comb, position]
            room += echo
            low = echo * (1 - damping) + low_passed[comb] * damping
            if abs(low) < DENORMAL_LIMIT:
                low = 0.0
            low_passed[comb] = low
            combs[comb, position] = mono[n] + low * comb_feedback
            comb_at[comb] = position + 1 if position + 1 < comb_delays[comb] else 0
        for allpass in range(len(allpass_delays)):
            position = allpass_at[allpass]
            delayed = allpasses[allpass, position]
            stored = room + delayed * allpass_feedback
            if abs(stored) < DENORMAL_LIMIT:
                stored = 0.0
            allpasses[allpass, position] = stored
            room = delayed - room
            allpass_at[allpass] = position + 1 if position + 1 < allpass_delays[allpass] else 0
        output[n] += room * wet_gain

"""Loudness in LUFS, after ITU-R BS.1770-4: K-weighting, blocks of 400 ms, two gates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.level import db_to_gain, limit_true_peak
from ultimate_rvc.audio.resample import resample

FloatArray = NDArray[np.float32]

RATE = 48_000  # at which the standard gives its filters
# Tables 1 and 2 of the standard: the shelf for the head, the high-pass.
SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
HIGHPASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
BLOCK_SECONDS, OVERLAP = 0.4, 4  # a block begins every 100 ms
PART_HOPS = 600  # a minute
OFFSET_DB = -0.691
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
CEILING_DBTP = -1.0  # what broadcasters and platforms ask for


def loudness_lufs(waveform: FloatArray, sample_rate: int) -> float:
    """Integrated loudness of ``(samples,)`` or ``(channels, samples)``, left and right; minus infinity for silence.

    Sound shorter than a block is measured as one.
    """
    channels = resample(np.atleast_2d(waveform), sample_rate, RATE)
    blocks = np.sum([_block_powers(channel) for channel in channels], axis=0)
    loud = blocks[_lufs(blocks) > ABSOLUTE_GATE_LUFS]
    if not loud.size:
        return -math.inf
    gate = float(_lufs(loud.mean())) + RELATIVE_GATE_LU
    return float(_lufs(loud[_lufs(loud) > gate].mean()))


def _block_powers(channel_48k: FloatArray) -> NDArray[np.float64]:
    """Mean square of each block of a K-weighted channel."""
    hop = round(BLOCK_SECONDS * RATE / OVERLAP)
    if len(channel_48k) < OVERLAP * hop:
        weighted = _k_weighted(channel_48k, _at_rest())
        return np.array([np.square(weighted).sum() / max(len(weighted), 1)])
    state = _at_rest()
    hops: list[NDArray[np.float64]] = []
    # Part by part: in float64 an hour would take gigabytes.
    for start in range(0, len(channel_48k) - hop + 1, PART_HOPS * hop):
        part = channel_48k[start : start + PART_HOPS * hop]
        weighted = _k_weighted(part, state)
        whole = len(part) // hop
        hops.append(np.square(weighted[: whole * hop]).reshape(whole, hop).mean(axis=1))
    windows: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(
        np.concatenate(hops), OVERLAP
    ).mean(axis=1)
    return windows


def _at_rest() -> list[NDArray[np.float64]]:
    return [np.zeros(2), np.zeros(2)]


def _k_weighted(part: FloatArray, state: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """A part of a channel through both filters, whose ``state`` goes on to the next part."""
    from scipy.signal import lfilter

    shelved, state[0] = lfilter(*SHELF, part.astype(np.float64), zi=state[0])
    weighted, state[1] = lfilter(*HIGHPASS, shelved, zi=state[1])
    result: NDArray[np.float64] = weighted
    return result


def _lufs(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(OFFSET_DB + 10 * np.log10(np.maximum(power, 1e-12)))


def at_loudness(waveform: FloatArray, sample_rate: int, lufs: float) -> FloatArray:
    """``(samples,)`` or ``(channels, samples)`` at that loudness, true peaks held below -1 dBTP; silence stays."""
    present = loudness_lufs(waveform, sample_rate)
    if not math.isfinite(present):
        return waveform
    return limit_true_peak(waveform * np.float32(db_to_gain(lufs - present)), sample_rate, CEILING_DBTP)

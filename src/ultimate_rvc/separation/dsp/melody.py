"""The pitch of the singer inside a mixture, frame by frame."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.separation.dsp.spectrum import (
    BIN_FREQUENCIES_HZ,
    BIN_HZ,
    FRAME_LENGTH,
    ComplexArray,
    FloatArray,
    istft,
    median_along_rows,
    stft,
)

LOWEST_HZ, HIGHEST_HZ = 80.0, 900.0  # a low male voice to a high soprano's written range
CANDIDATE_CENTS = 25
SALIENCE_TOP_HZ = 5000.0
HARMONICS = 20
HARMONIC_DECAY = 0.86  # how much less each further harmonic counts
ACCOMPANIMENT_BELOW_HZ = 130.0  # kick and bass outweigh any voice here

LOWER = 4  # the melody is sought at a quarter of the rate (11.025 kHz), which holds SALIENCE_TOP_HZ
LOWER_BINS = FRAME_LENGTH // LOWER // 2 + 1
LONG_FRAME = 16_384 // LOWER  # 370 ms: a held instrument note is a line here, a gliding voice a smear
LONG_BIN_HZ = BIN_HZ * FRAME_LENGTH / LOWER / LONG_FRAME
LINE_FRAMES, SMEAR_BINS = 15, 31  # median filters along time (1.4 s) and frequency (83 Hz)

JUMP_COST, JUMP_COST_LIMIT = 1 / 12, 1.0  # log-salience per candidate step; a limit permits new notes
SALIENCE_FLOOR = 0.02


def melody_hz(centre_spectrum: ComplexArray, length: int) -> FloatArray:
    """The most likely sung pitch in every frame; frames without a singer get some value as well.

    Two saliences are multiplied: that of the whole centre, and that of its part which fluctuates
    in pitch (two-stage median filtering after Tachibana et al. 2014), in which held notes of
    instruments are weak. The path through them is a Viterbi search that dislikes jumps.

    ``(frames, bins)`` of a signal of ``length`` samples to ``(frames,)`` in Hz.
    """
    # The lowest bins alone are the spectrum of the signal at a lower rate, in frames as many times shorter.
    audible = centre_spectrum[:, :LOWER_BINS] * (BIN_FREQUENCIES_HZ[:LOWER_BINS] > ACCOMPANIMENT_BELOW_HZ)
    fluctuating = stft(_fluctuating_part(istft(audible, length // LOWER)), FRAME_LENGTH // LOWER)
    whole = _salience(np.abs(audible))
    moving = _salience(np.sqrt(np.abs(fluctuating)))
    log_salience = 0.5 * (np.log(whole + SALIENCE_FLOOR) + np.log(moving + SALIENCE_FLOOR))
    return _candidates_hz()[_best_path(log_salience)].astype(np.float32)


@cache
def _candidates_hz() -> NDArray[np.float64]:
    count = int(1200 * np.log2(HIGHEST_HZ / LOWEST_HZ) / CANDIDATE_CENTS)
    candidates: NDArray[np.float64] = LOWEST_HZ * 2 ** (np.arange(count) * CANDIDATE_CENTS / 1200)
    return candidates


@cache
def _harmonic_weights() -> FloatArray:
    """``(candidates, bins)``: positive at a candidate's harmonics, negative half-way between them.

    The negative weights keep a pitch an octave below the sung one, whose harmonics include all
    of the sung ones, from winning.
    """
    candidates = _candidates_hz()
    weights = np.zeros((candidates.size, LOWER_BINS), dtype=np.float32)
    for row, f0 in zip(weights, candidates, strict=True):
        for harmonic in range(1, HARMONICS + 1):
            weight = HARMONIC_DECAY ** (harmonic - 1)
            _add_weight(row, harmonic * f0, weight)
            _add_weight(row, (harmonic - 0.5) * f0, -weight)
        row[row > 0] /= row[row > 0].sum()
        row[row < 0] /= -row[row < 0].sum()
    return weights


def _add_weight(row: FloatArray, hz: float, weight: float) -> None:
    """Linear interpolation onto the two nearest bins."""
    if hz >= SALIENCE_TOP_HZ:
        return
    left = int(hz / BIN_HZ)
    fraction = hz / BIN_HZ - left
    row[left] += weight * (1 - fraction)
    row[left + 1] += weight * fraction


def _salience(magnitude: FloatArray) -> FloatArray:
    """``(frames, bins)`` to ``(frames, candidates)``, about 0 to 1."""
    salience = np.maximum(magnitude @ _harmonic_weights().T, 0)
    scaled: FloatArray = salience / (np.percentile(salience, 99) + 1e-9)
    return scaled


def _fluctuating_part(signal: FloatArray) -> FloatArray:
    """``(samples,)`` at the lower rate, in and out."""
    spectrum = stft(signal, LONG_FRAME)
    top = int(SALIENCE_TOP_HZ / LONG_BIN_HZ)
    spectrum[:, top:] = 0
    magnitude = np.abs(spectrum[:, :top])
    lines = np.square(median_along_rows(magnitude.T, LINE_FRAMES).T)
    smears = np.square(median_along_rows(magnitude, SMEAR_BINS))
    spectrum[:, :top] *= smears / (smears + lines + 1e-12)
    return istft(spectrum, signal.size)


def _best_path(log_salience: FloatArray) -> NDArray[np.int64]:
    """Viterbi: the candidate per frame that maximises salience minus the cost of jumps."""
    frames, candidates = log_salience.shape
    steps = np.abs(np.arange(candidates)[:, None] - np.arange(candidates)[None, :])
    cost = np.minimum(np.maximum(steps - 1, 0) * JUMP_COST, JUMP_COST_LIMIT)
    score = log_salience[0].astype(np.float64)
    came_from = np.zeros((frames, candidates), dtype=np.int16)
    everyone = np.arange(candidates)
    for frame in range(1, frames):
        reached = score - cost  # (to, from): a jump costs the same both ways
        came_from[frame] = reached.argmax(axis=1)
        score = reached[everyone, came_from[frame]] + log_salience[frame]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = score.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path

"""Speech in portions that can be heard while the rest is made: a short one first, then longer ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.speech.reading import Piece

FloatArray = NDArray[np.float32]

# A voice converts long portions faster than short ones: each is twice as long as the one that is heard meanwhile.
GROWTH = 2.0
LONGEST_SECONDS = 30.0
# Where the first portion may end: the sooner, the earlier something is heard.
FIRST_SECONDS = (0.9, 2.2)
GAP_SECONDS = 0.03
GAP_SHARE = 0.1  # -20 dB of the portion's level: a stop or a gap between words, where a cut is not heard
FADE_SECONDS = 0.005


def portions(pieces: Iterable[Piece]) -> Iterator[FloatArray]:
    """Portions ``(samples,)`` of growing length, the pauses included; together they are the whole speech."""
    waiting: list[FloatArray] = []
    wanted = 0.0
    sample_rate = 0
    pause = np.zeros(0, np.float32)
    for piece in pieces:
        sample_rate = piece.sample_rate
        waiting += [_silence(piece.silence_first_seconds, sample_rate), pause, piece.waveform]
        pause = _silence(piece.pause_seconds, sample_rate)  # the last one is nobody's
        if not wanted:
            first, rest = _cut_early(np.concatenate(waiting), sample_rate)
            yield first
            wanted, waiting = GROWTH * len(first) / sample_rate, [rest]
        elif sum(map(len, waiting)) >= wanted * sample_rate:
            portion = np.concatenate(waiting)
            yield portion
            wanted, waiting = min(GROWTH * len(portion) / sample_rate, LONGEST_SECONDS), []
    if (rest := np.concatenate([*waiting, np.zeros(0, np.float32)])).size:
        yield rest


def _silence(seconds: float, sample_rate: int) -> FloatArray:
    return np.zeros(round(seconds * sample_rate), np.float32)


def _cut_early(waveform: FloatArray, sample_rate: int) -> tuple[FloatArray, FloatArray]:
    """The beginning up to the quietest gap that comes early enough, and the rest; whole where there is none."""
    low, high = (round(seconds * sample_rate) for seconds in FIRST_SECONDS)
    if len(waveform) <= high:
        return waveform, waveform[:0]
    length = round(GAP_SECONDS * sample_rate)
    energy = np.convolve(np.square(waveform[low:high], dtype=np.float64), np.ones(length) / length, "valid")
    at = int(energy.argmin())
    level = np.sqrt(np.mean(np.square(waveform[:high], dtype=np.float64)))
    if np.sqrt(energy[at]) > GAP_SHARE * level:
        return waveform, waveform[:0]
    cut = low + at + length // 2
    first, rest = waveform[:cut].copy(), waveform[cut:].copy()
    ramp = np.linspace(1, 0, round(FADE_SECONDS * sample_rate), dtype=np.float32)
    first[-len(ramp) :] *= ramp
    rest[: len(ramp)] *= ramp[::-1]
    return first, rest

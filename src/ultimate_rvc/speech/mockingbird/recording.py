"""A recording as the speaker encoder wants it: mono, 16 kHz, not too quiet, without long pauses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.mockingbird.speaker_encoder import SAMPLE_RATE

FloatArray = NDArray[np.float32]

LOUDNESS_DB = -30.0  # quieter recordings are raised to it
WINDOW = 480  # 30 ms
SMOOTHED_WINDOWS = 8
PAUSE_WINDOWS = 6  # a pause is shortened to this much, 0.18 s, on both sides together
LOUD_PERCENTILE, BELOW_LOUD_DB = 95.0, 25.0  # speech is at most so far below the loud windows
SILENT_DB = -60.0
LEAST_SECONDS, MOST_SECONDS = 1.0, 600.0


def read_recording(path: Path) -> FloatArray:
    """The recording (samples,) at 16 kHz, prepared.

    Raises
    ------
    SpeechError
        There is too little speech in it, or more than ten minutes; an AudioError where it is no audio.
    """
    waveform = decode_mono(path, SAMPLE_RATE)
    if len(waveform) > MOST_SECONDS * SAMPLE_RATE:
        raise SpeechError(
            f"The recording {path} is longer than {MOST_SECONDS / 60:.0f} minutes: cut out a part."
        )
    prepared = without_pauses(raised(waveform)) if waveform.any() else waveform[:0]
    if len(prepared) < LEAST_SECONDS * SAMPLE_RATE:
        raise SpeechError(
            f"The recording {path} holds less than {LEAST_SECONDS:.0f} s of sound: take one of 5 to 15 s of speech."
        )
    return prepared


def raised(waveform: FloatArray) -> FloatArray:
    """A recording (samples,) that is not all zeros at -30 dBFS or above."""
    level = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    return waveform * np.float32(max(1.0, 10 ** (LOUDNESS_DB / 20) / level))


def without_pauses(waveform: FloatArray) -> FloatArray:
    """What is left of (samples,) when long pauses are cut: windows that are loud, smoothed, and their neighbours.

    Windows, smoothing and neighbours are those of Resemblyzer; which window is loud is told by its level, where
    Resemblyzer asks WebRTC's detector.
    """
    count = len(waveform) // WINDOW
    windows = waveform[: count * WINDOW].reshape(count, WINDOW)
    levels = 10 * np.log10(np.mean(np.square(windows, dtype=np.float64), axis=1) + 1e-12)
    floor = max(SILENT_DB, np.percentile(levels, LOUD_PERCENTILE) - BELOW_LOUD_DB) if count else SILENT_DB
    loud = (levels > floor).astype(np.float64)
    before = (SMOOTHED_WINDOWS - 1) // 2
    padded = np.pad(loud, (before, SMOOTHED_WINDOWS // 2))
    kernel = np.ones(SMOOTHED_WINDOWS) / SMOOTHED_WINDOWS
    kept = np.round(np.convolve(padded, kernel, "valid")) > 0
    kept = np.convolve(kept, np.ones(PAUSE_WINDOWS + 1), "same") > 0
    return windows[kept].reshape(-1)

"""Shifting the pitch of music without changing its length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from python_stretch import Signalsmith

from ultimate_rvc.errors import AudioError
from ultimate_rvc.settings import check_range

FloatArray = NDArray[np.float32]

MAX_SEMITONES = 48
# Longer and denser blocks than the library's preset (120 ms every 30 ms): those leave a bass tone up to
# 13 cents off, these 5, for twice the time.
BLOCK_SECONDS = 0.16
INTERVAL_SECONDS = 0.02
TONALITY_LIMIT_HZ = 8_000  # above it, hiss and cymbals are moved less than the shift, so they stay bright
SEED = 0  # of the phases that the library draws at random


def transpose(waveform: FloatArray, sample_rate: int, semitones: float) -> FloatArray:
    """Shift the pitch by -48 to 48 ``semitones`` at the same length and timing, with Signalsmith Stretch.

    All of ``waveform`` (channels, samples) or (samples,) is shifted together, so that the stereo image stays;
    0 returns the input itself. Peaks can grow, since the phases of partials change. The same input gives the
    same bytes.

    Raises
    ------
    SettingError
        If ``semitones`` is out of range.
    AudioError
        If samples are not finite.
    """
    check_range("semitones", semitones, -MAX_SEMITONES, MAX_SEMITONES)
    if semitones == 0 or waveform.size == 0:
        return waveform
    channels = np.atleast_2d(np.ascontiguousarray(waveform, np.float32))
    if not np.isfinite(channels).all():
        raise AudioError("The audio holds samples that are not numbers (NaN or infinite); export it again.")
    stretch = Signalsmith.Stretch(SEED)
    stretch.configure(
        channels.shape[0], round(BLOCK_SECONDS * sample_rate), round(INTERVAL_SECONDS * sample_rate)
    )
    stretch.setTransposeSemitones(semitones, TONALITY_LIMIT_HZ / sample_rate)
    # One call takes the whole: the library starts and flushes its blocks around each call, and so
    # makes up for its own delay.
    shifted: FloatArray = np.asarray(stretch.process(channels), np.float32).reshape(waveform.shape)
    return shifted

"""By how much a voice is shifted so that a song lies where the voice is at home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_sides
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import AudioError
from ultimate_rvc.separation.dsp.melody import melody_hz
from ultimate_rvc.separation.dsp.spectrum import SAMPLE_RATE, centre, power

LISTENED_SECONDS = 40.0
LOUDEST_SHARE = 0.5  # of the frames: where nobody sings, the pitch of the centre is anybody's
SEMITONES = 12
SUNG_ABOVE_SPOKEN = (
    4.0  # semitones: a voice's recordings are speech for the most part, and people sing higher
)
QUIETEST = 1e-3  # of the loudest frame's power: below, it is a pause
TOP_HZ = 4000.0  # a voice's share of the loudness, without cymbals

FloatArray = NDArray[np.float32]


def suggested_shift(song: Path, home_hz: float, *, whole_octaves: bool) -> int:
    """Semitones by which the voice of a song or recording is shifted to lie around ``home_hz``.

    No network is loaded: the pitch is that of the loudest voice in the middle of the stereo picture, over
    40 s around the loudest place.

    Parameters
    ----------
    song : Path
        Any file with audio in it, with or without music.
    home_hz : float
        Median pitch of the voice that is to sing, in Hz.
    whole_octaves : bool
        A song: suggest octaves only, so that the music stays in its key, from where such a voice sings.

    Raises
    ------
    AudioError
        The file holds no audio, or is silent.
    """
    median_hz = sung_median_hz(_loudest_part(*decode_sides(song)), song)
    return shift_between(median_hz, home_hz, whole_octaves=whole_octaves)


def shift_between(median_hz: float, home_hz: float, *, whole_octaves: bool) -> int:
    """Semitones from a median pitch to that of a voice, both in Hz and above 0; for a song, whole octaves."""
    shift = SEMITONES * float(np.log2(home_hz / median_hz))
    return SEMITONES * round((shift + SUNG_ABOVE_SPOKEN) / SEMITONES) if whole_octaves else round(shift)


def sung_median_hz(block: FloatArray, song: Path) -> float:
    """Median pitch in Hz of the voice in ``block``, ``(channels, samples)`` at 44.1 kHz."""
    mid, gain = centre(block)
    spectrum = (mid * gain).astype(np.complex64, copy=False)
    loudness = power(spectrum[:, : int(TOP_HZ / SAMPLE_RATE * 2 * spectrum.shape[1])]).sum(axis=1)
    if not loudness.max() > 0:
        raise AudioError(f"{song.name} is silent, so no pitch can be suggested for it.")
    is_loud = loudness >= max(np.quantile(loudness, 1 - LOUDEST_SHARE), QUIETEST * loudness.max())
    return float(np.median(melody_hz(spectrum, block.shape[-1])[is_loud]))


def _loudest_part(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """``LISTENED_SECONDS`` around the loudest place, at 44.1 kHz."""
    wanted = round(LISTENED_SECONDS * sample_rate)
    if waveform.shape[1] > wanted:
        sums = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64).mean(axis=0))])
        start = int(np.argmax(sums[wanted:] - sums[:-wanted]))
        waveform = waveform[:, start : start + wanted]
    return resample(waveform, sample_rate, SAMPLE_RATE)

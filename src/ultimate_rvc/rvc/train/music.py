"""Is there music under a voice? Heard where the voice pauses.

Between words a voice leaves silence, noise or breath, none of which holds a frequency. Instruments do: in
the quietest frames of speech or dry singing hardly any partial lasts a quarter of a second, under music
several do at once. Strong reverb and hum sound like that too, and are as bad to learn from.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 2048  # 128 ms: bins of 8 Hz
HOP_SAMPLES = 512
LOWEST_BIN, HIGHEST_BIN = 8, 1000  # 63 Hz to 7.8 kHz
PEAK_DB = 9.0  # above what lies around it
NEIGHBOUR_BINS = 31
FAINT_DB = 60.0  # below the loudest: left by lossy formats
LASTING_FRAMES = 7  # 0.22 s
QUIET_PERCENTILE = 25
EXCERPT_SECONDS = 10
MOST_EXCERPTS = 6  # of a long recording, spread over it
LEAST_SECONDS = 3.0  # less may be one long note, which has no pauses

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


def lasting_partials(waveform_16k: FloatArray) -> float:
    """Partials that last, as a mean over the quietest quarter of the frames of mono (samples,).

    Below 1 for speech and dry singing, above 2 with music 10 dB below the voice (tests/rvc/train has the songs
    it was measured on); 0 for less than 3 s. The median over excerpts of what is longer than a minute.
    """
    return float(np.median([_of_excerpt(excerpt) for excerpt in _excerpts(waveform_16k)]))


def _excerpts(waveform_16k: FloatArray) -> list[FloatArray]:
    length = EXCERPT_SECONDS * SAMPLE_RATE
    if len(waveform_16k) <= MOST_EXCERPTS * length:
        return [waveform_16k]
    starts = np.linspace(0, len(waveform_16k) - length, MOST_EXCERPTS).astype(int)
    return [waveform_16k[start : start + length] for start in starts]


def _of_excerpt(waveform_16k: FloatArray) -> float:
    if len(waveform_16k) < LEAST_SECONDS * SAMPLE_RATE:
        return 0.0
    spectrum = scipy.signal.stft(
        waveform_16k, nperseg=WINDOW_SAMPLES, noverlap=WINDOW_SAMPLES - HOP_SAMPLES, boundary=None
    )[2][LOWEST_BIN:HIGHEST_BIN]
    power = np.abs(spectrum) ** 2
    energy = power.sum(0)
    quiet = energy <= np.percentile(energy, QUIET_PERCENTILE)
    return float(_lasting(_peaks(10 * np.log10(power + 1e-14))).sum(0)[quiet].mean())


def _peaks(level_db: FloatArray) -> BoolArray:
    """Where a partial stands out of the (bins, frames) around it."""
    around = scipy.ndimage.uniform_filter1d(level_db, NEIGHBOUR_BINS, axis=0)
    highest = scipy.ndimage.maximum_filter(level_db, size=(5, 1))
    is_peak = (level_db == highest) & (level_db > around + PEAK_DB)
    return np.asarray(is_peak & (level_db > level_db.max() - FAINT_DB))


def _lasting(peaks: BoolArray) -> BoolArray:
    """Peaks that have one in the same bin or the next in each of seven frames around them."""
    near = scipy.ndimage.maximum_filter(peaks, size=(3, 1))
    return np.asarray(peaks & scipy.ndimage.minimum_filter(near, size=(1, LASTING_FRAMES), mode="nearest"))

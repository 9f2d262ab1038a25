"""Vocals out of a song without a model: the centre of the stereo picture, along the melody.

The steps, each a soft mask on the mid channel's spectrum: keep what is common to left and right;
keep the harmonics of the sung pitch, less the level found between them; above 4 kHz also keep
what lasts and does not repeat, which is where the consonants are. Figures in docs/separation.md.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from ultimate_rvc.separation.dsp.melody import ACCOMPANIMENT_BELOW_HZ, melody_hz
from ultimate_rvc.separation.dsp.repetition import novelty
from ultimate_rvc.separation.dsp.spectrum import (
    BIN_FREQUENCIES_HZ,
    BIN_HZ,
    TINY,
    ComplexArray,
    FloatArray,
    centre,
    istft,
    median_along_rows,
    power,
)

VOICE_LOWEST_HZ = 100.0  # below, bass and kick always win
TOOTH_BINS = 1.4  # half width of a harmonic: that of the Hann window's main lobe, and some vibrato
GAP_BINS = 1.6  # what is farther than this from a harmonic counts as background
BACKGROUND_SHARE = 0.5  # between the harmonics there is voice too, so only a part is background
BACKGROUND_AREA = (5, 25)  # frames (116 ms) and bins (270 Hz) over which the gaps are averaged
CONSONANTS_HZ = (4000.0, 16_000.0)
LASTING_FRAMES = 5  # drum hits ring for fewer than half of these (116 ms), sibilants for more


def extract_vocals(block: FloatArray) -> FloatArray:
    """Vocals of a song at 44.1 kHz, ``(channels, samples)`` in and out, the same in all channels."""
    mid, gain = centre(block)
    spectrum = (mid * gain).astype(np.complex64, copy=False)
    f0_hz = melody_hz(spectrum, block.shape[-1])
    mask = _harmonic_mask(spectrum, f0_hz)
    consonants = slice(*np.searchsorted(BIN_FREQUENCIES_HZ, CONSONANTS_HZ))
    mask[:, consonants] = np.maximum(mask[:, consonants], _consonant_mask(spectrum, consonants))
    vocals = istft(spectrum * mask, block.shape[-1])
    return np.broadcast_to(vocals, block.shape).copy()


def _harmonic_mask(spectrum: ComplexArray, f0_hz: FloatArray) -> FloatArray:
    """Wiener-like gain at the harmonics of ``f0_hz``; the background is what lies between them."""
    distance = _bins_to_harmonic(f0_hz)
    teeth = np.exp(-0.5 * np.square(distance / TOOTH_BINS))
    gaps = 1 - np.exp(-0.5 * np.square(distance / GAP_BINS))
    level = power(spectrum)
    background = uniform_filter(level * gaps, BACKGROUND_AREA) / (
        uniform_filter(gaps, BACKGROUND_AREA) + 1e-6
    )
    teeth *= np.clip(1 - BACKGROUND_SHARE * background / (level + TINY), 0, 1)
    teeth[:, BIN_FREQUENCIES_HZ <= VOICE_LOWEST_HZ] = 0
    masked: FloatArray = teeth
    return masked


def _bins_to_harmonic(f0_hz: FloatArray) -> FloatArray:
    """Distance of every bin to the nearest harmonic, ``(frames, bins)``."""
    f0_bins = f0_hz[:, None] / np.float32(BIN_HZ)
    bins = np.arange(BIN_FREQUENCIES_HZ.size, dtype=np.float32)
    number = np.maximum(np.round(bins / f0_bins), 1)
    distance: FloatArray = np.abs(bins - number * f0_bins)
    return distance


def _consonant_mask(spectrum: ComplexArray, bins: slice) -> FloatArray:
    """Gain of ``bins`` that keeps what lasts and does not repeat."""
    magnitude = np.abs(spectrum)
    magnitude[:, BIN_FREQUENCIES_HZ <= ACCOMPANIMENT_BELOW_HZ] = 0
    high = magnitude[:, bins]
    lasting = np.minimum(median_along_rows(high.T, LASTING_FRAMES).T / (high + TINY), 1)
    mask: FloatArray = lasting * novelty(magnitude, bins)
    return mask

"""Late reverb off a voice without a model.

The power of late reverb is modelled as an exponentially decaying sum of the voice's own past
(Lebart et al. 2001; Habets 2009), per band. How long it decays and how strong it is, is read from
the recording: reverb fills every pause, so the model may never promise more than the quietest
moments show. A dry voice has deep pauses, hence gets a strength near zero and stays as it is.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.signal import lfilter

from ultimate_rvc.separation.dsp.spectrum import (
    HOPS_PER_FRAME,
    SAMPLE_RATE,
    TINY,
    FloatArray,
    istft,
    power,
    stft,
)

FRAME_LENGTH = 2048  # 46 ms
HOP_LENGTH = FRAME_LENGTH // HOPS_PER_FRAME
HOP_SECONDS = HOP_LENGTH / SAMPLE_RATE
EARLY_FRAMES = round(0.06 / HOP_SECONDS)  # reflections up to 60 ms belong to the voice
DECAY_SECONDS = (0.2, 0.3, 0.45, 0.65, 0.9, 1.3, 1.8, 2.5)  # times to fall by 60 dB to choose from
BAND_EDGES_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, SAMPLE_RATE / 2)
QUIET_PERCENT = 5.0  # the quietest share of moments that limits the strength
HEARD_BELOW_PEAK_DB = 45.0  # tails weaker than this are not used to judge
OVERSUBTRACTION = 2.5  # the limit is a low percentile, so the mean of late reverb lies above it
LOWEST_GAIN = 0.1  # -20 dB; less gives audible flutter


def extract_dry(block: FloatArray) -> FloatArray:
    """Vocals at 44.1 kHz with their late reverb weakened, ``(channels, samples)`` in and out."""
    spectrum = stft(block, FRAME_LENGTH)
    level = power(spectrum).mean(axis=0)  # one gain for all channels keeps the stereo picture
    gain = _dry_gain(uniform_filter(level, size=(3, 3), mode="nearest"))
    return istft(spectrum * gain, block.shape[-1])


def _dry_gain(level: FloatArray) -> FloatArray:
    """Gain per frame and bin from the smoothed power ``(frames, bins)``."""
    gain = np.ones_like(level)
    edges = np.searchsorted(np.fft.rfftfreq(FRAME_LENGTH, 1 / SAMPLE_RATE), BAND_EDGES_HZ)
    for first, last in itertools.pairwise(edges):
        band = level[:, first:last]
        decay_seconds, strength = _room_of_band(band.mean(axis=1))
        late = OVERSUBTRACTION * strength * _tail(band, decay_seconds)
        share = np.clip(1 - late / (band + TINY), 0, 1)
        gain[:, first:last] = np.maximum(np.sqrt(share), LOWEST_GAIN)
    return gain


def _tail(level: FloatArray, decay_seconds: float) -> FloatArray:
    """What would still ring of everything older than the early reflections, along the first axis."""
    per_frame = 10 ** (-6 * HOP_SECONDS / decay_seconds)
    delayed = np.zeros_like(level)
    delayed[EARLY_FRAMES:] = level[:-EARLY_FRAMES]
    first_weight = (1 - per_frame) * per_frame**EARLY_FRAMES
    tail: FloatArray = lfilter([first_weight], [1, -per_frame], delayed, axis=0).astype(np.float32)
    return tail


def _room_of_band(level: FloatArray) -> tuple[float, float]:
    """``(decay_seconds, strength)`` of the room that explains most of a band's power ``(frames,)``.

    For every decay the strength is the largest that the quiet moments allow; the decay whose tail
    then explains the largest share of all frames is taken.
    """
    best = (DECAY_SECONDS[0], 0.0)
    most_explained = 0.0
    for decay_seconds in DECAY_SECONDS:
        tail = _tail(level, decay_seconds)
        heard = tail > tail.max() * 10 ** (-HEARD_BELOW_PEAK_DB / 10)
        if not heard.any():
            continue
        ratio: NDArray[np.float32] = level[heard] / (tail[heard] + TINY)
        strength = float(np.percentile(ratio, QUIET_PERCENT))
        explained = float(np.minimum(strength * tail[heard] / (level[heard] + TINY), 1).mean())
        if explained > most_explained:
            most_explained, best = explained, (decay_seconds, strength)
    return best

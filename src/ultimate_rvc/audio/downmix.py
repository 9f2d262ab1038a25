"""Folding channels together: surround sound to stereo, and stereo to mono."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

# Stereo loses 3 to 6 dB when it is folded. Where one side is the other turned upside down, lossy coding
# leaves 26 to 35 dB less than each side: a fold that keeps less than 1 % of the power is no sound any more.
LOST_POWER = 0.01
SILENT_POWER = 1e-8  # -80 dBFS: nothing was there to be lost

MINUS_3_DB = 0.5**0.5

# Channels by FFmpeg's names, in the order that files of that many channels use.
DEFAULT_LAYOUTS: dict[int, tuple[str, ...]] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "LFE"),
    4: ("FL", "FR", "FC", "BC"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}

# (left, right) weights of Rec. ITU-R BS.775: centre and surrounds at -3 dB, no low-frequency effects.
STEREO_WEIGHTS = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "DL": (1.0, 0.0),  # the two channels of a stereo version carried beside surround sound
    "DR": (0.0, 1.0),
    "FC": (MINUS_3_DB, MINUS_3_DB),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "BC": (0.5, 0.5),  # a surround channel shared by both sides
}


def downmix_stereo(waveform: FloatArray, channel_names: tuple[str, ...] | None = None) -> FloatArray:
    """Fold ``(channels, samples)`` to ``(2, samples)``; mono is put on both sides, stereo is returned as is.

    Parameters
    ----------
    waveform : float32, shape (channels, samples), 1 to 8 channels
    channel_names : tuple of str, optional
        FFmpeg's names (``FL``, ``FR``, ``FC``, ``LFE``, ``BL``, ...); the usual layout of that many
        channels when left out or unknown.

    Returns
    -------
    float32, shape (2, samples)
        By the weights of Rec. ITU-R BS.775. Where their sum exceeds both full scale and the input's
        peak, the whole is turned down to the larger of the two: folding never makes a file clip.
    """
    channels = waveform.shape[0]
    if channels == 1:
        return np.repeat(waveform, 2, axis=0)
    if channels == 2:
        return waveform
    if channel_names is None or len(channel_names) != channels or "NONE" in channel_names:
        channel_names = DEFAULT_LAYOUTS[channels]
    weights = np.array([_stereo_weights(name) for name in channel_names], np.float32).T
    folded = kept_sound(weights @ waveform, waveform)
    allowed = max(1.0, float(np.abs(waveform).max(initial=0.0)))
    if (loudest := float(np.abs(folded).max(initial=0.0))) > allowed:
        folded *= np.float32(allowed / loudest)
    return folded


def to_mono(waveform: FloatArray) -> FloatArray:
    """Average the channels: ``(channels, samples)`` or ``(samples,)`` to ``(samples,)``.

    Channels that cancel each other out would leave silence: the loudest one is taken then.
    """
    return waveform if waveform.ndim == 1 else kept_sound(waveform.mean(axis=0, dtype=np.float32), waveform)


def kept_sound(folded: FloatArray, channels: FloatArray) -> FloatArray:
    """What folding ``(channels, samples)`` gave, or their loudest one in its shape where that lost the sound."""
    powers = [_power(channel) for channel in channels]
    loudest = int(np.argmax(powers))
    kept = max(map(_power, np.atleast_2d(folded)))
    if not (powers[loudest] > SILENT_POWER and kept < LOST_POWER * powers[loudest]):
        return folded
    logger.warning(
        "The channels of the audio cancel each other out when they are put together (one may be turned "
        "upside down): channel %d of %d is used alone.",
        loudest + 1,
        len(channels),
    )
    return np.broadcast_to(channels[loudest], folded.shape).copy()


def _power(samples: FloatArray) -> float:
    """Mean square; float32 suffices, since only powers of ten apart are told apart."""
    return float(np.dot(samples, samples)) / max(samples.size, 1)


def _stereo_weights(channel_name: str) -> tuple[float, float]:
    """Weights of one channel; those not in the table (side, back, height) count as surrounds."""
    if channel_name in STEREO_WEIGHTS:
        return STEREO_WEIGHTS[channel_name]
    if channel_name.endswith("L"):
        return (MINUS_3_DB, 0.0)
    if channel_name.endswith("R"):
        return (0.0, MINUS_3_DB)
    return (0.5, 0.5)

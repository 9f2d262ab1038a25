"""Levels: gain, loudness curve, peaks and channels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.downmix import downmix_stereo as to_stereo
from ultimate_rvc.audio.downmix import to_mono
from ultimate_rvc.audio.true_peak import limit_true_peak, true_peak

__all__ = [
    "db_to_gain",
    "gain_to_db",
    "limit_true_peak",
    "match_level",
    "pcm16",
    "peak",
    "rms",
    "rms_envelope",
    "to_mono",
    "to_stereo",
    "true_peak",
]

PCM16_FULL_SCALE = np.float32(32767)

FloatArray = NDArray[np.float32]

SOURCE_RATE = 16_000
RMS_FLOOR = 1e-6  # of the converted voice, so that silence does not divide by zero
BLOCK_SAMPLES = 1 << 20


def db_to_gain(gain_db: float) -> float:
    """The factor that ``gain_db`` decibels stand for."""
    return float(10 ** (gain_db / 20))


def gain_to_db(gain: float) -> float:
    """Decibels of a factor or magnitude; minus infinity for 0."""
    return 20 * math.log10(gain) if gain > 0 else -math.inf


def pcm16(waveform: FloatArray) -> NDArray[np.int16]:
    """Samples of 16 bits of a waveform of any shape, the low byte first; beyond [-1, 1] it is cut off."""
    return np.round(np.clip(waveform, -1, 1) * PCM16_FULL_SCALE).astype("<i2")


def peak(waveform: FloatArray) -> float:
    """Largest magnitude in an array of any shape: 0 without samples, NaN where a sample is NaN."""
    if waveform.size == 0:
        return 0.0
    return float(max(waveform.max(), -waveform.min()))


def rms(waveform: NDArray[np.floating]) -> float:
    """Root mean square of ``(samples,)`` or ``(channels, samples)``, 0 without samples."""
    return math.sqrt(np.square(waveform, dtype=np.float64).mean()) if waveform.size else 0.0


def rms_envelope(waveform: FloatArray, frame_length: int, hop_length: int) -> FloatArray:
    """RMS of centred frames, as ``librosa.feature.rms`` gives it: shape ``(1 + samples // hop_length,)``."""
    energies = []
    for centre in range(0, len(waveform) + 1, hop_length):
        low = centre - frame_length // 2
        frame = waveform[max(low, 0) : low + frame_length]
        energies.append(np.square(frame, dtype=np.float64).sum() / frame_length)
    return np.sqrt(energies).astype(np.float32)


def match_level(
    source_16k: FloatArray,
    converted: FloatArray,
    sample_rate: int,
    rms_mix_rate: float,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """Give ``converted`` (samples,) part of the loudness curve of its source (RVC's "RMS mix").

    ``source_16k`` is the same stretch of time at 16 kHz. ``rms_mix_rate`` 1 changes nothing, 0 copies the curve;
    in between the two are mixed geometrically. ``out`` is where to write; ``converted`` itself may be given, to
    hold a long recording only once.
    """
    wanted = rms_envelope(source_16k, SOURCE_RATE, SOURCE_RATE // 2)
    present = rms_envelope(converted, sample_rate, sample_rate // 2)
    matched = np.empty_like(converted) if out is None else out
    # Block by block: the interpolated curves of a long recording would outweigh the recording itself.
    for start in range(0, len(converted), BLOCK_SAMPLES):
        at = np.arange(start, min(start + BLOCK_SAMPLES, len(converted)))
        floored = np.maximum(_stretched(present, at, len(converted)), RMS_FLOOR)
        gain = (_stretched(wanted, at, len(converted)) / floored) ** (1 - rms_mix_rate)
        matched[at[0] : at[-1] + 1] = converted[at[0] : at[-1] + 1] * gain
    return matched


def _stretched(curve: FloatArray, at: NDArray[np.int64], samples: int) -> NDArray[np.float64]:
    """``curve`` stretched linearly over ``samples`` (torch's ``interpolate``), at the samples ``at``."""
    positions = (at + 0.5) * (len(curve) / samples) - 0.5
    stretched: NDArray[np.float64] = np.interp(positions, np.arange(len(curve)), curve)
    return stretched

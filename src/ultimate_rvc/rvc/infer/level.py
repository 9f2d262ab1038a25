"""The level of what comes in and of what goes out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.level import match_level, peak, to_mono
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import AudioError
from ultimate_rvc.rvc.infer.chunks import SAMPLE_RATE
from ultimate_rvc.rvc.infer.settings import ConversionSettings

INPUT_PEAK = 0.95  # louder input is turned down to this before anything else, as in RVC
OUTPUT_PEAK = 0.99

FloatArray = NDArray[np.float32]


def mono_16k(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """Float32 ``(samples,)`` or ``(channels, samples)`` as ``(samples,)`` at 16 kHz, no peak above 0.95.

    An :class:`AudioError` where there are no samples, too few, or one of them is not a finite number.
    """
    if waveform.shape[-1] == 0:
        raise AudioError("There is no audio to convert: it has no samples.")
    if not np.isfinite(waveform).all():
        raise AudioError("The audio holds samples that are not numbers (NaN or infinite); export it again.")
    mono = resample(to_mono(waveform), sample_rate, SAMPLE_RATE)
    if len(mono) == 0:
        raise AudioError(
            f"The audio is too short to convert: {waveform.shape[-1]} samples at {sample_rate} Hz."
        )
    return _limit_peak(mono, INPUT_PEAK)


def finish_level(
    converted: FloatArray, source_16k: FloatArray, sample_rate: int, settings: ConversionSettings
) -> FloatArray:
    """Noise, loudness curve and peak (0.99) of a converted waveform, as the settings ask for.

    ``converted``, float32 ``(samples,)`` at ``sample_rate``, is overwritten; ``source_16k``, float32
    ``(samples,)`` at 16 kHz, is what it was made of. Returns float32 ``(samples,)``.
    """
    if settings.clean_voice:
        converted = _reduce_noise(converted, sample_rate, settings.clean_strength)
    if settings.rms_mix_rate != 1:
        converted = match_level(source_16k, converted, sample_rate, settings.rms_mix_rate, out=converted)
    return _limit_peak(converted, OUTPUT_PEAK, out=converted)


def _limit_peak(waveform: FloatArray, ceiling: float, *, out: FloatArray | None = None) -> FloatArray:
    """Turn ``waveform`` down to ``ceiling`` if it is louder; ``out`` may be ``waveform`` itself."""
    loudest = peak(waveform)
    return np.multiply(waveform, np.float32(ceiling / loudest), out=out) if loudest > ceiling else waveform


def _reduce_noise(waveform: FloatArray, sample_rate: int, strength: float) -> FloatArray:
    import noisereduce

    cleaned = noisereduce.reduce_noise(y=waveform, sr=sample_rate, prop_decrease=strength)
    return np.asarray(cleaned, np.float32)

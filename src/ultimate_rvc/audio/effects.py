"""Vocal effects: high-pass, then compressor, then reverb with its whole tail."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.downmix import downmix_stereo, to_mono
from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.errors import AudioError

FloatArray = NDArray[np.float32]
DelayTable = NDArray[np.int64]

# 6 dB per octave, as in the chain whose sound users know; conversion filtered rumble already.
HIGHPASS_ORDER = 1
MAX_HIGHPASS_FRACTION = 0.45  # of the sample rate: a cutoff at half the rate has no filter

# Freeverb by Jezar at Dreampoint (public domain): delays in samples at 44.1 kHz, and its scales.
FREEVERB_RATE = 44_100
COMB_DELAYS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASS_DELAYS = (556, 441, 341, 225)
STEREO_SPREAD = 23  # samples by which the right channel's delays are longer
INPUT_GAIN = 0.015
ROOM_SCALE, ROOM_OFFSET = 0.28, 0.7
DAMPING_SCALE = 0.4
ALLPASS_FEEDBACK = 0.5
WET_SCALE, DRY_SCALE = 3.0, 2.0

TAIL_DB = -60.0  # where a tail is over, against the loudest sample
TAIL_FADE_SECONDS = 0.01  # what ends at -60 dB would still click in silence


def apply_effects(waveform: FloatArray, sample_rate: int, settings: EffectSettings) -> FloatArray:
    """High-pass, compress and reverberate a voice; the reverb's tail is kept.

    The high-pass is a Butterworth filter of first order. The compressor follows the magnitude of the
    louder channel with exponential attack and release and turns both channels down by the same gain.
    The reverb is Freeverb (eight damped combs in parallel, then four all-passes, for each side), its
    delays scaled to the sample rate; it doubles ``dry_level`` and triples ``wet_level``, as Freeverb
    does, so the result can exceed full scale: mix or limit it.

    From (samples,) or (channels, samples), surround sound folded to stereo first, to (2, samples + tail). The
    tail ends where it stays 60 dB below the loudest sample; it has 0 samples when the reverberation is that
    quiet already, and at most :func:`longest_tail`. The same input gives the same bytes.

    Raises
    ------
    AudioError
        If there are no samples, or samples that are not finite.
    """
    channels = _checked(waveform)
    voice = _highpassed(channels, sample_rate, settings.highpass_hz)
    if settings.compressor_ratio > 1:
        voice = _compressed(voice, sample_rate, settings)
    return _reverberated(voice, sample_rate, settings)


def longest_tail(sample_rate: int, settings: EffectSettings) -> int:
    """Samples in which the reverb of any signal falls by 60 dB.

    A comb of delay D and feedback f falls by ``20 log10 f`` decibels every D samples (damping only
    shortens that), an all-pass likewise; the slowest comb and all all-passes add up.
    """
    if settings.wet_level == 0:
        return 0
    spread = STEREO_SPREAD
    combs = _decay_samples(max(COMB_DELAYS) + spread, _comb_feedback(settings))
    allpasses = sum(_decay_samples(delay + spread, ALLPASS_FEEDBACK) for delay in ALLPASS_DELAYS)
    return math.ceil((combs + allpasses) * sample_rate / FREEVERB_RATE)


def _decay_samples(delay: int, feedback: float) -> float:
    return delay * (1 + TAIL_DB / (20 * math.log10(feedback)))


def _comb_feedback(settings: EffectSettings) -> float:
    return settings.room_size * ROOM_SCALE + ROOM_OFFSET


def _checked(waveform: FloatArray) -> FloatArray:
    channels = np.atleast_2d(waveform)
    if channels.ndim != 2 or channels.size == 0:
        raise AudioError("There is no audio to put effects on: it has no samples.")
    if not np.isfinite(channels).all():
        raise AudioError("The audio holds samples that are not numbers (NaN or infinite); export it again.")
    channels = channels.astype(np.float32, copy=False)
    return downmix_stereo(channels) if channels.shape[0] > 2 else channels


def _highpassed(channels: FloatArray, sample_rate: int, highpass_hz: float) -> FloatArray:
    if highpass_hz == 0:
        return channels
    from scipy.signal import butter, lfilter

    cutoff_hz = min(highpass_hz, MAX_HIGHPASS_FRACTION * sample_rate)
    numerator, denominator = butter(HIGHPASS_ORDER, cutoff_hz, "highpass", fs=sample_rate)
    filtered = np.empty_like(channels)
    for channel, samples in enumerate(channels):
        filtered[channel] = lfilter(numerator, denominator, samples.astype(np.float64))
    return filtered


def _compressed(channels: FloatArray, sample_rate: int, settings: EffectSettings) -> FloatArray:
    from ultimate_rvc.audio.effect_loops import compressor_gain

    samples_per_ms = sample_rate / 1000
    gain = compressor_gain(
        np.abs(channels).max(axis=0),
        10 ** (settings.compressor_threshold_db / 20),
        1 / settings.compressor_ratio - 1,
        math.exp(-1 / (settings.attack_ms * samples_per_ms)),
        math.exp(-1 / (settings.release_ms * samples_per_ms)),
    )
    compressed: FloatArray = channels * gain
    return compressed


def _reverberated(channels: FloatArray, sample_rate: int, settings: EffectSettings) -> FloatArray:
    from ultimate_rvc.audio.effect_loops import add_room

    samples = channels.shape[1]
    tail = longest_tail(sample_rate, settings)
    mono = np.zeros(samples + tail, np.float32)
    # Freeverb feeds the sum of both sides to every comb; a mono voice is on both.
    mono[:samples] = to_mono(channels) * (INPUT_GAIN * 2)
    output = np.zeros((2, samples + tail), np.float32)
    output[:, :samples] = channels * np.float32(settings.dry_level * DRY_SCALE)
    if tail == 0:
        return output
    for side in range(2):
        add_room(
            mono,
            output[side],
            _delays(COMB_DELAYS, side, sample_rate),
            _delays(ALLPASS_DELAYS, side, sample_rate),
            _comb_feedback(settings),
            ALLPASS_FEEDBACK,
            settings.damping * DAMPING_SCALE,
            settings.wet_level * WET_SCALE,
        )
    return _ended(output, samples, sample_rate)


def _delays(delays: tuple[int, ...], side: int, sample_rate: int) -> DelayTable:
    """Freeverb's delays at ``sample_rate``, longer by the stereo spread on the right side (1)."""
    return np.array(
        [max(1, round((delay + side * STEREO_SPREAD) * sample_rate / FREEVERB_RATE)) for delay in delays]
    )


def _ended(output: FloatArray, samples: int, sample_rate: int) -> FloatArray:
    """Cut the tail where it stays 60 dB below the loudest sample, and fade its last 10 ms."""
    loudness_at = np.abs(output[:, samples:]).max(axis=0)
    audible = np.flatnonzero(loudness_at > np.abs(output).max() * 10 ** (TAIL_DB / 20))
    tail = int(audible[-1]) + 1 if len(audible) else 0
    ended = np.ascontiguousarray(output[:, : samples + tail])
    fade = min(tail, round(TAIL_FADE_SECONDS * sample_rate))
    if fade:
        ended[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return ended

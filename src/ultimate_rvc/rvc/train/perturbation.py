"""The same words from another throat: what a voice must learn not to hear.

Content features are to say what is spoken and not by whom, but something of the speaker is always left in
them. A voice that has only ever met the features of its own speaker takes that for part of the words, and
mispronounces others. So features are also taken from versions of each piece in which everything but the words
and their timing is another's: information perturbation as in NANSY (Choi et al., 2021), by the WORLD vocoder
(Morise et al., 2016).
"""

from __future__ import annotations

import numpy as np
import pyworld
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ultimate_rvc.audio.level import rms

PERTURBATION_VERSION = 1  # raised whenever the same piece would come out otherwise
SAMPLE_RATE = 16_000
FRAME_MS = 5.0
F0_MIN_HZ, F0_MAX_HZ = 60.0, 1000.0
SHORTEST_SAMPLES = SAMPLE_RATE // 10  # WORLD's filters want some periods of the lowest f0 to work on

FORMANT_RATIO = 0.8, 1.25  # from the longest vocal tracts of men to those of children
FORMANTS_APART = 0.04  # standard deviation of the logarithm, at each of the places
FORMANT_HZ = np.array([300.0, 900.0, 2000.0, 3500.0, 6000.0])
FORMANT_SHARPNESS = 0.7, 1.4  # of what stands out from the spectrum's course over 2 kHz
COURSE_HZ = 2000.0
BREATHINESS = 0.4, 2.5  # exponent of the aperiodic share: below 1 breathy, above 1 buzzing
MEDIAN_F0_HZ = 75.0, 300.0  # what adults and children speak at
F0_RATIO = 0.4, 2.0  # beyond, WORLD's envelope has nothing to go by
MELODY_WIDTH = 0.6, 1.6
EQUALISER_DB = 4.0  # standard deviation, at each of the bands
EQUALISER_HZ = np.geomspace(100, 8000, 8)
NOISE_SNR_DB = 12.0, 50.0
NOISE_TILT = 0.0, 2.0  # exponent of 1/f in power: white to brown

FloatArray = NDArray[np.float32]
Signal = NDArray[np.float64]


def perturbed(waveform_16k: FloatArray, random: np.random.Generator) -> FloatArray:
    """The same words, at the same time, by another speaker through another microphone.

    Mono (samples,) in [-1, 1] gives (samples,), as loud; silence stays silence. ``random`` decides formants
    (0.8 to 1.25 times, each a little more or less; sharper or blunter), breath, pitch (a median of 75 to
    300 Hz, melody 0.6 to 1.6 times as wide), equaliser, noise (12 to 50 dB below).
    """
    level = rms(waveform_16k)
    if level == 0:
        return waveform_16k.copy()
    samples = np.pad(waveform_16k.astype(np.float64), (0, max(0, SHORTEST_SAMPLES - len(waveform_16k))))
    voice = _other_voice(samples, random)[: len(waveform_16k)]
    voice = np.pad(voice, (0, len(waveform_16k) - len(voice)))
    voice *= level / max(rms(voice), 1e-9)
    noise = _noise(len(voice), random)
    snr_db = random.uniform(*NOISE_SNR_DB)
    result: FloatArray = (voice + noise * (level * 10 ** (-snr_db / 20))).astype(np.float32)
    return result


def _other_voice(samples: Signal, random: np.random.Generator) -> Signal:
    f0_hz, seconds = pyworld.dio(samples, SAMPLE_RATE, F0_MIN_HZ, F0_MAX_HZ, frame_period=FRAME_MS)
    f0_hz = pyworld.stonemask(samples, f0_hz, seconds, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(samples, f0_hz, seconds, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(samples, f0_hz, seconds, SAMPLE_RATE)
    log_power = _with_other_formants(np.log(envelope), random) + _equaliser(envelope.shape[1], random)
    aperiodicity = aperiodicity ** _between(BREATHINESS, random)
    f0_hz = _other_melody(f0_hz, random)
    spoken: Signal = pyworld.synthesize(f0_hz, np.exp(log_power), aperiodicity, SAMPLE_RATE, FRAME_MS)
    return spoken


def _with_other_formants(log_power: Signal, random: np.random.Generator) -> Signal:
    """Spectra (frames, bins) whose peaks lie elsewhere, and stand out more or less."""
    bins = log_power.shape[1]
    bin_hz = SAMPLE_RATE / 2 / (bins - 1)
    course = uniform_filter1d(log_power, round(COURSE_HZ / bin_hz), axis=1, mode="nearest")
    shaped = course + _between(FORMANT_SHARPNESS, random) * (log_power - course)
    ratio = _between(FORMANT_RATIO, random) * np.exp(random.normal(0, FORMANTS_APART, len(FORMANT_HZ)))
    frequencies = np.arange(bins) * bin_hz
    read_hz = frequencies / np.interp(frequencies, FORMANT_HZ, ratio)
    position = np.minimum(read_hz / bin_hz, bins - 1)
    left = np.minimum(position.astype(int), bins - 2)
    share = position - left
    return np.ascontiguousarray((1 - share) * shaped[:, left] + share * shaped[:, left + 1])


def _equaliser(bins: int, random: np.random.Generator) -> Signal:
    """A smooth curve (bins,) to add to the logarithm of a power spectrum."""
    gains_db = random.normal(0, EQUALISER_DB, len(EQUALISER_HZ))
    frequencies = np.linspace(0, SAMPLE_RATE / 2, bins)
    gain_db = np.interp(np.log(np.maximum(frequencies, 1)), np.log(EQUALISER_HZ), gains_db)
    gain: Signal = gain_db * (np.log(10) / 10)
    return gain


def _other_melody(f0_hz: Signal, random: np.random.Generator) -> Signal:
    wanted_hz, width = _between(MEDIAN_F0_HZ, random), _between(MELODY_WIDTH, random)
    voiced = f0_hz > 0
    if not voiced.any():
        return f0_hz
    median_hz = float(np.median(f0_hz[voiced]))
    ratio = float(np.clip(wanted_hz / median_hz, *F0_RATIO))
    melody = median_hz * ratio * (np.where(voiced, f0_hz, median_hz) / median_hz) ** width
    return np.where(voiced, np.clip(melody, F0_MIN_HZ, F0_MAX_HZ), 0.0)


def _noise(samples: int, random: np.random.Generator) -> Signal:
    """Noise (samples,) of power 1, darker or lighter."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    frequencies = np.maximum(np.arange(len(spectrum)) * (SAMPLE_RATE / samples), 50.0)
    shaped = np.fft.irfft(spectrum * frequencies ** (-random.uniform(*NOISE_TILT) / 2), samples)
    unit: Signal = shaped / max(rms(shaped), 1e-9)
    return unit


def _between(limits: tuple[float, float], random: np.random.Generator) -> float:
    """A number between the two, each ratio as likely as any."""
    low, high = np.log(limits)
    return float(np.exp(random.uniform(low, high)))

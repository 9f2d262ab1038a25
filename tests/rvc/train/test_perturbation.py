"""Is what is perturbed still the same words at the same time, by somebody else?"""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import pyworld
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recordings import singing, speech
from ultimate_rvc.rvc.train.perturbation import MEDIAN_F0_HZ, perturbed

RATE = 16_000
SEEDS = range(8)

FloatArray = NDArray[np.float32]


@pytest.fixture(scope="module")
def spoken() -> FloatArray:
    return speech(RATE)


@pytest.fixture(scope="module")
def versions(spoken: FloatArray) -> list[FloatArray]:
    return [perturbed(spoken, np.random.default_rng(seed)) for seed in SEEDS]


def loudness_db(waveform: FloatArray) -> NDArray[np.float64]:
    rms = librosa.feature.rms(y=waveform, frame_length=800, hop_length=320)[0]
    return np.asarray(20 * np.log10(np.maximum(rms, 1e-4)))


def median_hz(waveform: FloatArray) -> float:
    f0_hz, _ = pyworld.dio(waveform.astype(np.float64), RATE, 50.0, 500.0)
    return float(np.median(f0_hz[f0_hz > 0]))


def centroid_hz(waveform: FloatArray) -> float:
    return float(np.median(librosa.feature.spectral_centroid(y=waveform, sr=RATE)))


def test_syllables_stay_where_they_are(spoken: FloatArray, versions: list[FloatArray]) -> None:
    loud = loudness_db(spoken)
    for version in versions:
        assert version.shape == spoken.shape
        assert version.dtype == np.float32
        here = np.corrcoef(loud, loudness_db(version))[0, 1]
        later = np.corrcoef(loud[8:], loudness_db(version)[:-8])[0, 1]
        assert here > 0.7
        assert here > later + 0.2


def test_each_has_the_level_of_the_recording(spoken: FloatArray, versions: list[FloatArray]) -> None:
    level = np.sqrt(np.mean(np.square(spoken)))
    for version in versions:
        assert np.sqrt(np.mean(np.square(version))) == pytest.approx(level, rel=0.05)


def test_voices_differ_in_pitch_and_timbre(versions: list[FloatArray]) -> None:
    pitches = sorted(map(median_hz, versions))
    assert pitches[0] < 130
    assert pitches[-1] > 190
    low, high = MEDIAN_F0_HZ
    assert all(low * 0.7 < pitch < high * 1.3 for pitch in pitches)
    centroids = sorted(map(centroid_hz, versions))
    assert centroids[-1] > 1.3 * centroids[0]


def test_the_same_numbers_give_the_same_sound(spoken: FloatArray, versions: list[FloatArray]) -> None:
    np.testing.assert_array_equal(perturbed(spoken, np.random.default_rng(3)), versions[3])


def test_singing_far_above_speech_stays_a_voice() -> None:
    sung = singing("thunder", RATE)[: 4 * RATE]
    version = perturbed(sung, np.random.default_rng(1))
    assert np.isfinite(version).all()
    assert np.corrcoef(loudness_db(sung), loudness_db(version))[0, 1] > 0.5


@given(samples=st.integers(0, 5000), seed=st.integers(0, 100), level=st.sampled_from([0.0, 1e-5, 0.5]))
@settings(max_examples=25, deadline=None)
def test_noise_and_silence_of_any_length_give_finite_sound_of_that_length(
    samples: int, seed: int, level: float
) -> None:
    random = np.random.default_rng(seed)
    waveform = (level * random.standard_normal(samples)).astype(np.float32)
    version = perturbed(waveform, random)
    assert version.shape == waveform.shape
    assert np.isfinite(version).all()
    if level == 0:
        assert not version.any()

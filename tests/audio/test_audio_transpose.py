"""Transposition: the right pitch, the same length and timing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ultimate_rvc.audio.transpose import transpose
from ultimate_rvc.errors import AudioError, SettingError

RATE = 44_100


def harmonic_tone(f0_hz: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(0.3 / k * np.sin(2 * np.pi * f0_hz * k * time) for k in range(1, 9)).astype(np.float32)


def fundamental_hz(samples: np.ndarray, near_hz: float) -> float:
    """By autocorrelation over many periods, its maximum interpolated."""
    spectrum = np.fft.rfft(samples * np.hanning(len(samples)), 2 * len(samples))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    periods = 20
    around = round(periods * RATE / near_hz)
    reach = round(RATE / near_hz / 3)
    best = around - reach + int(correlation[around - reach : around + reach].argmax())
    before, here, after = correlation[best - 1 : best + 2]
    return float(periods * RATE / (best + (before - after) / (2 * (before - 2 * here + after))))


@pytest.mark.parametrize("semitones", [-12, -5, -1, 1, 3, 7, 12])
@pytest.mark.parametrize("f0_hz", [110.0, 220.0, 440.0])
def test_pitch_is_right_within_five_cents(semitones: int, f0_hz: float) -> None:
    wanted_hz = f0_hz * 2 ** (semitones / 12)
    shifted = transpose(harmonic_tone(f0_hz, 3), RATE, semitones)[RATE : 2 * RATE]
    cents = 1200 * np.log2(fundamental_hz(shifted, wanted_hz) / wanted_hz)
    assert abs(cents) < 5


@pytest.mark.parametrize("semitones", [-12, -3, 2, 7, 12])
def test_timing_is_kept_within_three_milliseconds(semitones: int) -> None:
    """The loudness curves of drum-like bursts before and after are correlated."""
    rng = np.random.default_rng(0)
    music = np.zeros(5 * RATE)
    for start in rng.integers(0, 5 * RATE - 5_000, 12):
        music[start : start + 4_000] += rng.normal(0, 0.3, 4_000) * np.exp(-np.arange(4_000) / 800)
    shifted = transpose(music.astype(np.float32), RATE, semitones)

    def curve(samples: np.ndarray) -> np.ndarray:
        smooth = np.convolve(np.abs(samples), np.hanning(441), "same")
        return smooth - smooth.mean()

    correlation = np.fft.irfft(
        np.fft.rfft(curve(shifted), 10 * RATE) * np.conj(np.fft.rfft(curve(music), 10 * RATE))
    )
    lag = int(correlation.argmax())
    lag = lag - len(correlation) if lag > len(correlation) // 2 else lag
    assert abs(lag) / RATE < 0.003


@given(
    samples=st.integers(0, 30_000),
    channels=st.sampled_from([None, 1, 2]),
    semitones=st.integers(-48, 48),
    sample_rate=st.sampled_from([16_000, 44_100, 96_000]),
)
@hypothesis_settings(max_examples=30)
def test_any_music_keeps_its_shape_and_is_finite(
    samples: int, channels: int | None, semitones: int, sample_rate: int
) -> None:
    shape = (samples,) if channels is None else (channels, samples)
    music = np.random.default_rng(samples).uniform(-0.5, 0.5, shape).astype(np.float32)
    shifted = transpose(music, sample_rate, semitones)
    assert shifted.shape == shape
    assert shifted.dtype == np.float32
    assert np.isfinite(shifted).all()


def test_loudness_is_kept() -> None:
    tone_ = harmonic_tone(220, 2)
    shifted = transpose(tone_, RATE, 4)
    inner = slice(RATE // 4, -RATE // 4)
    assert np.std(shifted[inner]) == pytest.approx(np.std(tone_[inner]), rel=0.1)


def test_equal_sides_stay_equal() -> None:
    left, right = transpose(np.stack([harmonic_tone(220, 1)] * 2), RATE, 5)
    np.testing.assert_allclose(left, right, atol=1e-3)  # -60 dB: not computed alike to the bit


def test_no_shift_returns_the_input() -> None:
    music = harmonic_tone(220, 0.2)
    assert transpose(music, RATE, 0) is music


def test_the_same_music_gives_the_same_bytes() -> None:
    music = np.stack([harmonic_tone(220, 1), harmonic_tone(277, 1)])
    np.testing.assert_array_equal(transpose(music, RATE, 3), transpose(music.copy(), RATE, 3))


def test_impossible_shifts_and_broken_samples_are_refused() -> None:
    with pytest.raises(SettingError, match="semitones is 49"):
        transpose(harmonic_tone(220, 0.1), RATE, 49)
    with pytest.raises(SettingError, match="semitones is nan"):
        transpose(harmonic_tone(220, 0.1), RATE, float("nan"))
    with pytest.raises(AudioError, match="NaN"):
        transpose(np.full(1_000, np.nan, np.float32), RATE, 2)

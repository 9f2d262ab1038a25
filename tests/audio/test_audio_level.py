"""Peaks, loudness, level curves and the limiter, against the standards and other implementations."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from audio_files import tone
from ultimate_rvc.audio.downmix import downmix_stereo
from ultimate_rvc.audio.level import (
    db_to_gain,
    gain_to_db,
    limit_true_peak,
    match_level,
    peak,
    rms,
    rms_envelope,
    to_mono,
    true_peak,
)

RATE = 44_100


def loud_music(seed: int, samples: int = 30_000, gain: float = 1.0) -> np.ndarray:
    """Stereo: tones, noise and clicks, with quiet and loud stretches."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    tones = sum(np.sin(2 * np.pi * hz * time + rng.uniform(0, 6)) for hz in rng.uniform(60, 12_000, 5))
    music = 0.2 * np.stack([tones, tones]) + rng.normal(0, 0.15, (2, samples))
    music[:, rng.integers(0, samples, 5)] += rng.choice([-1.5, 1.5], 5)
    swell = 0.1 + np.abs(np.sin(2 * np.pi * time * rng.uniform(0.5, 4)))
    return (gain * music * swell).astype(np.float32)


def test_decibels_and_factors() -> None:
    assert db_to_gain(0) == 1
    assert db_to_gain(-6) == pytest.approx(0.5012, abs=1e-4)
    assert gain_to_db(10) == 20
    assert gain_to_db(0) == -np.inf


def test_peak_is_the_largest_magnitude() -> None:
    assert peak(np.array([[0.1, -0.7], [0.2, 0.3]], np.float32)) == pytest.approx(0.7)
    assert peak(np.zeros((2, 0), np.float32)) == 0
    assert np.isnan(peak(np.array([0.1, np.nan, 2], np.float32)))


def test_mono_is_the_average() -> None:
    np.testing.assert_allclose(to_mono(np.array([[1, 0], [0, -0.5]], np.float32)), [0.5, -0.25])


@given(seed=st.integers(0, 1_000), gain=st.floats(-1.1, -0.9), noise_db=st.floats(-120, -30))
def test_sides_that_cancel_each_other_out_are_heard_from_the_louder_one(
    seed: int, gain: float, noise_db: float
) -> None:
    """One side upside down, a little louder or not, with the noise of lossy coding on both."""
    rng = np.random.default_rng(seed)
    voice = rng.normal(0, 0.1, 3_000)
    sides = np.stack([voice, gain * voice]) + db_to_gain(noise_db) * rng.normal(0, 0.1, (2, 3_000))
    sides = sides.astype(np.float32)
    heard = to_mono(sides)
    # Alike but for rounding, either of them is the louder one.
    assert any(np.array_equal(heard, side) for side in sides)
    assert rms(heard) >= max(map(rms, sides)) * (1 - 1e-6)


@given(
    seed=st.integers(0, 1_000),
    correlation=st.floats(-0.97, 1),
    balance_db=st.floats(-60, 60),
    level_db=st.floats(-120, 0),
)
def test_ordinary_stereo_is_averaged_to_the_bit(
    seed: int, correlation: float, balance_db: float, level_db: float
) -> None:
    """From mono through wide to almost upside down, and from silence to full scale."""
    first, second = np.random.default_rng(seed).normal(0, 0.2 * db_to_gain(level_db), (2, 3_000))
    second = correlation * first + (1 - correlation**2) ** 0.5 * second
    sides = np.stack([first, db_to_gain(min(balance_db, 0)) * second]).astype(np.float32)
    sides[0] *= np.float32(db_to_gain(min(-balance_db, 0)))
    np.testing.assert_array_equal(to_mono(sides), sides.mean(axis=0, dtype=np.float32))


def test_the_sound_that_would_be_lost_is_said_once_for_each_fold(caplog: pytest.LogCaptureFixture) -> None:
    voice = tone(300, 0.5, RATE)
    to_mono(np.stack([voice, voice]))
    to_mono(np.zeros((2, 100), np.float32))
    to_mono(np.zeros((2, 0), np.float32))
    to_mono(1e-6 * np.stack([voice, -voice]))  # nothing that could be heard is lost
    assert caplog.messages == []
    to_mono(np.stack([0.5 * voice, -0.5 * voice]))
    assert len(caplog.messages) == 1
    assert "cancel each other out" in caplog.messages[0]


def test_surround_whose_channels_cancel_out_is_not_folded_to_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    voice = tone(300, 0.5, RATE)
    surround = np.zeros((4, len(voice)), np.float32)
    surround[0], surround[1], surround[3] = (
        voice,
        voice,
        -2 * voice,
    )  # FL, FR and a back centre of half weight
    np.testing.assert_array_equal(downmix_stereo(surround), [-2 * voice, -2 * voice])
    assert "channel 4 of 4" in caplog.text


# ------------------------------------------------------------------ true peak


def test_true_peak_finds_what_lies_between_samples() -> None:
    """At a quarter of the rate, sampled 45 degrees off its crests, a full-scale sine shows only 0.707."""
    time = np.arange(20_000)
    sine = np.sin(np.pi / 2 * time + np.pi / 4) * np.hanning(20_000)
    assert peak(sine.astype(np.float32)) == pytest.approx(0.7071, abs=1e-3)
    assert true_peak(sine.astype(np.float32), RATE) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(
    ("sample_rate", "factor"), [(16_000, 4), (44_100, 4), (48_000, 4), (96_000, 2), (192_000, 1)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_true_peak_agrees_with_oversampling_by_scipy(sample_rate: int, factor: int, seed: int) -> None:
    music = loud_music(seed)
    oversampled = resample_poly(music.astype(np.float64), factor, 1, axis=1, window=("kaiser", 7.0))
    difference_db = gain_to_db(true_peak(music, sample_rate)) - gain_to_db(float(np.abs(oversampled).max()))
    assert abs(difference_db) < 0.1


@pytest.mark.parametrize("frequency_hz", [100, 1_000, 5_000, 10_000, 15_000, 20_000])
def test_true_peak_is_flat_over_the_audible_band(frequency_hz: int) -> None:
    """BS.1770-4 allows 0.69 dB less at half the rate; here the steps of 4 times oversampling leave 0.6."""
    sine = tone(frequency_hz, 1, RATE, 1.0) * np.hanning(RATE).astype(np.float32)
    assert -0.6 < gain_to_db(true_peak(sine, RATE)) < 0.02


def test_true_peak_of_silence_and_nothing() -> None:
    assert true_peak(np.zeros((2, 100), np.float32), RATE) == 0
    assert true_peak(np.zeros((2, 0), np.float32), RATE) == 0


# ------------------------------------------------------------------ limiter


@given(
    seed=st.integers(0, 1_000),
    gain_db=st.floats(-12, 24),
    ceiling_dbtp=st.floats(-12, 0),
    sample_rate=st.sampled_from([8_000, 44_100, 96_000, 192_000]),
    samples=st.integers(1, 20_000),
)
def test_limited_audio_never_exceeds_the_ceiling(
    seed: int, gain_db: float, ceiling_dbtp: float, sample_rate: int, samples: int
) -> None:
    music = loud_music(seed, samples, db_to_gain(gain_db))
    limited = limit_true_peak(music, sample_rate, ceiling_dbtp)
    assert limited.shape == music.shape
    assert limited.dtype == np.float32
    assert gain_to_db(true_peak(limited, sample_rate)) <= ceiling_dbtp + 1e-4
    assert (np.abs(limited) - np.abs(music)).max() <= 1e-6  # it only turns down


def test_limited_audio_stays_below_the_ceiling_for_another_meter() -> None:
    """8 times oversampling sees a little more of full-band noise than the 4 times of the standard."""
    limited = limit_true_peak(loud_music(7, gain=3), RATE, -1.0)
    oversampled = resample_poly(limited.astype(np.float64), 8, 1, axis=1)
    assert gain_to_db(float(np.abs(oversampled).max())) < -0.8


def test_what_is_below_the_ceiling_is_returned_as_it_is() -> None:
    music = loud_music(1, gain=0.05)
    assert limit_true_peak(music, RATE, -1.0) is music


def test_the_limiter_works_around_a_peak_and_nowhere_else() -> None:
    quiet = tone(200, 2, RATE, 0.3)
    with_click = quiet.copy()
    with_click[RATE] = 1.8
    limited = limit_true_peak(with_click, RATE, -1.0)
    before = RATE - round(0.005 * RATE) - 30
    np.testing.assert_array_equal(limited[:before], quiet[:before])
    changed = np.abs(limited - quiet)
    assert changed[before : RATE + 100].max() > 0.05
    assert changed[-RATE // 4 :].max() < 1e-3  # 0.75 s later, after 7 time constants, it is over
    assert np.abs(limited[RATE]) == pytest.approx(db_to_gain(-1), abs=0.02)


def test_the_limiters_gain_is_smooth() -> None:
    """No step in the gain: that would be a click."""
    steady = tone(200, 1, RATE, 0.3) + np.float32(0.4)
    with_peak = steady.copy()
    with_peak[RATE // 2 : RATE // 2 + 100] *= 2.5
    gain = limit_true_peak(with_peak, RATE, -3.0) / with_peak
    assert np.abs(np.diff(gain)).max() < 2 / (0.005 * RATE)


def test_both_sides_are_turned_down_together() -> None:
    music = np.stack([loud_music(3, gain=2)[0], tone(300, 30_000 / RATE, RATE, 0.2)])
    limited = limit_true_peak(music, RATE, -1.0)
    audible = np.abs(music).min(axis=0) > 0.01
    gains = limited[:, audible] / music[:, audible]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-4)
    assert gains.min() < 0.8


def test_limiting_twice_gives_the_same_bytes() -> None:
    music = loud_music(5, gain=2)
    np.testing.assert_array_equal(limit_true_peak(music, RATE), limit_true_peak(music.copy(), RATE))


# ------------------------------------------------------------------ level curves


@pytest.mark.parametrize("samples", [1, 7_999, 8_000, 16_000, 100_003])
@pytest.mark.parametrize(("frame_length", "hop_length"), [(16_000, 8_000), (40_000, 20_000), (2_048, 512)])
def test_rms_envelope_equals_librosa(samples: int, frame_length: int, hop_length: int) -> None:
    noise = np.random.default_rng(samples).normal(0, 0.2, samples).astype(np.float32)
    expected = librosa.feature.rms(y=noise, frame_length=frame_length, hop_length=hop_length)[0]
    envelope = rms_envelope(noise, frame_length, hop_length)
    assert envelope.shape == expected.shape
    np.testing.assert_allclose(envelope, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rms_mix_rate", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("sample_rate", [32_000, 40_000, 48_000])
def test_match_level_equals_the_formula_of_rvc(rms_mix_rate: float, sample_rate: int) -> None:
    """RMS by librosa, stretched by torch: out * rms_in^(1-r) * max(rms_out, 1e-6)^(r-1)."""
    rng = np.random.default_rng(2)
    source = (rng.normal(0, 0.1, 16_000 * 5) * np.linspace(0, 1, 16_000 * 5)).astype(np.float32)
    converted = (rng.normal(0, 0.2, sample_rate * 5) * np.linspace(1, 0.2, sample_rate * 5)).astype(
        np.float32
    )

    def stretched(waveform: np.ndarray, rate: int) -> torch.Tensor:
        curve = librosa.feature.rms(y=waveform, frame_length=rate // 2 * 2, hop_length=rate // 2)
        return torch.nn.functional.interpolate(
            torch.from_numpy(curve)[None], size=len(converted), mode="linear"
        ).squeeze()

    wanted, present = stretched(source, 16_000), stretched(converted, sample_rate).clamp_min(1e-6)
    expected = converted * (wanted ** (1 - rms_mix_rate) * present ** (rms_mix_rate - 1)).numpy()

    matched = match_level(source, converted, sample_rate, rms_mix_rate)
    np.testing.assert_allclose(matched, expected, rtol=2e-4, atol=1e-6)


def test_match_level_at_one_changes_nothing_and_silence_stays_finite() -> None:
    converted = tone(200, 1, 40_000)
    source = tone(300, 1, 16_000, 0.1)
    np.testing.assert_array_equal(match_level(source, converted, 40_000, 1.0), converted)
    silent = match_level(source, np.zeros(40_000, np.float32), 40_000, 0.0)
    np.testing.assert_array_equal(silent, 0)

"""Changing the sample rate: exact lengths, the same sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from audio_files import frequency_hz, tone
from ultimate_rvc.audio.resample import resample

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 32_000, 40_000, 44_100, 48_000, 96_000, 192_000])


@given(
    samples=st.integers(0, 5_000), from_rate=RATES, to_rate=RATES, channels=st.sampled_from([None, 1, 2, 8])
)
def test_length_is_exactly_proportional(
    samples: int, from_rate: int, to_rate: int, channels: int | None
) -> None:
    shape = (samples,) if channels is None else (channels, samples)
    resampled = resample(np.full(shape, 0.1, np.float32), from_rate, to_rate)
    assert resampled.shape == (*shape[:-1], round(samples * to_rate / from_rate))
    assert resampled.dtype == np.float32
    assert np.isfinite(resampled).all()


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44_100, 16_000), (16_000, 48_000), (192_000, 44_100)])
def test_a_tone_keeps_its_frequency_level_and_place(from_rate: int, to_rate: int) -> None:
    resampled = resample(tone(1_000, 1, from_rate), from_rate, to_rate)
    assert frequency_hz(resampled, to_rate) == pytest.approx(1_000, abs=0.05)
    inner = slice(to_rate // 10, -to_rate // 10)
    assert np.abs(resampled - tone(1_000, 1, to_rate))[inner].max() < 1e-4


def test_agrees_with_scipy() -> None:
    noise = resample(np.random.default_rng(3).normal(0, 0.1, 12_000).astype(np.float32), 12_000, 48_000)
    inner = slice(2_000, 14_000)
    ours = resample(noise, 48_000, 16_000)
    theirs = resample_poly(noise.astype(np.float64), 1, 3, window=("kaiser", 12.0))
    assert np.abs(ours - theirs)[inner].max() < 1e-3


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    resampled = resample(tone(10_000, 1, 44_100), 44_100, 16_000)
    assert np.abs(resampled[2_000:-2_000]).max() < 1e-5


def test_channels_do_not_mix() -> None:
    both = np.stack([tone(300, 0.5, 44_100), np.zeros(22_050, np.float32)])
    resampled = resample(both, 44_100, 48_000)
    assert np.abs(resampled[1]).max() == 0
    np.testing.assert_array_equal(resampled[0], resample(both[0], 44_100, 48_000))


def test_equal_rates_return_the_input() -> None:
    waveform = tone(300, 0.1, 44_100)
    assert resample(waveform, 44_100, 44_100) is waveform


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)])
def test_rates_must_be_positive(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        resample(tone(300, 0.1, 44_100), *rates)

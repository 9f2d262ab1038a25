"""Loudness after BS.1770, against what the standard and EBU Tech 3341 say of known signals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ultimate_rvc.audio.level import true_peak
from ultimate_rvc.audio.loudness import at_loudness, loudness_lufs

FloatArray = NDArray[np.float32]


def tone(seconds: float, level_dbfs: float, rate: int = 48_000, hz: float = 1000.0) -> FloatArray:
    samples = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return samples.astype(np.float32)


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_a_stereo_tone_is_as_loud_as_its_level(rate: int, level: float) -> None:
    """EBU Tech 3341, cases 1 and 2."""
    assert loudness_lufs(np.stack([tone(5, level, rate)] * 2), rate) == pytest.approx(level, abs=0.1)


def test_one_channel_is_3_db_softer() -> None:
    """The standard's own example: 0 dBFS at 997 Hz in one channel gives -3.01."""
    assert loudness_lufs(tone(3, 0, hz=997), 48_000) == pytest.approx(-3.01, abs=0.02)


def test_pauses_and_soft_passages_do_not_count() -> None:
    """EBU Tech 3341, cases 3 and 4."""
    soft_around = [tone(10, -36), tone(60, -23), tone(10, -36)]
    gated = [tone(10, -72), *soft_around, tone(10, -72)]
    for parts in (soft_around, gated):
        assert loudness_lufs(np.stack([np.concatenate(parts)] * 2), 48_000) == pytest.approx(-23, abs=0.1)


def test_sound_is_brought_to_a_loudness_and_its_peaks_stay_below_the_ceiling() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, 5 * 24_000).astype(np.float32)
    louder = at_loudness(noise, 24_000, -16.0)
    assert loudness_lufs(louder, 24_000) == pytest.approx(-16, abs=0.1)
    loudest = at_loudness(noise, 24_000, -5.0)
    assert true_peak(loudest, 24_000) <= 10 ** (-0.99 / 20)


def test_silence_and_short_sound_have_an_answer() -> None:
    assert loudness_lufs(np.zeros(48_000, np.float32), 48_000) == -math.inf
    assert loudness_lufs(np.zeros(0, np.float32), 48_000) == -math.inf
    silence = np.zeros(1000, np.float32)
    assert at_loudness(silence, 48_000, -16) is silence
    assert loudness_lufs(tone(0.2, 0, hz=997), 48_000) == pytest.approx(-3.01, abs=0.3)

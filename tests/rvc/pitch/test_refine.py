"""Does the phase of the harmonics tell f0 exactly, as WORLD's own refinement does, and do no harm?"""

from __future__ import annotations

import numpy as np
import pytest
import pyworld
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recordings import speech
from ultimate_rvc.rvc.pitch.refine import FRAMES_AT_ONCE, refined

SAMPLE_RATE = 16_000
FRAMES = 60


def buzz(f0_hz: NDArray[np.float64], harmonics: int = 12) -> torch.Tensor:
    """Harmonics that grow weaker, with f0 given for each sample."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
    tone = sum(np.where(n * f0_hz < 7800, 0.2 / n, 0) * np.cos(n * phase) for n in range(1, harmonics + 1))
    return torch.from_numpy(np.asarray(tone, np.float32))


def cents(found_hz: torch.Tensor, true_hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return 1200 * np.log2(found_hz.double().numpy() / true_hz)


@given(f0_hz=st.floats(60, 1000), error_cents=st.floats(-40, 40))
@settings(max_examples=60, deadline=None)
def test_a_steady_tone_is_found_within_two_cents_from_what_a_network_is_off(
    f0_hz: float, error_cents: float
) -> None:
    tone = buzz(np.full(FRAMES * 160, f0_hz))
    told_hz = torch.full((FRAMES,), f0_hz * 2 ** (error_cents / 1200))
    assert np.abs(cents(refined(told_hz, tone), f0_hz)[5:-5]).max() < 2


@pytest.mark.parametrize("rate_hz", [3.0, 6.5])
def test_a_moving_pitch_is_followed_where_a_long_window_smooths_it(rate_hz: float) -> None:
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    true_hz = 180 * 2 ** (150 * np.sin(2 * np.pi * rate_hz * time) / 1200)
    smoothed_hz = torch.from_numpy(np.convolve(true_hz, np.ones(1600) / 1600, "same")[::160]).float()
    found = refined(smoothed_hz, buzz(true_hz))[15:-15]
    expected = true_hz[::160][15:-15]
    assert np.percentile(np.abs(cents(smoothed_hz[15:-15], expected)), 90) > 20
    assert np.percentile(np.abs(cents(found, expected)), 90) < 4


def test_it_is_stonemask_on_recorded_speech() -> None:
    waveform = speech(SAMPLE_RATE)
    samples = waveform.astype(np.float64)
    coarse_hz, seconds = pyworld.dio(samples, SAMPLE_RATE, 60.0, 500.0, frame_period=10.0)
    theirs = pyworld.stonemask(samples, coarse_hz, seconds, SAMPLE_RATE)
    ours = refined(torch.from_numpy(coarse_hz), torch.from_numpy(waveform)).numpy()[: len(theirs)]
    assert len(ours) > FRAMES_AT_ONCE  # so that it was put together of parts
    np.testing.assert_array_equal(ours > 0, coarse_hz > 0)
    both = (theirs > 0) & (ours > 0)
    difference = np.abs(1200 * np.log2(ours[both] / theirs[both]))
    # StoneMask reads the spectrum at the nearest bins; here it is read at the harmonics themselves.
    assert np.median(difference) < 2
    assert np.percentile(difference, 90) < 25


@given(
    frames=st.integers(1, 30),
    seed=st.integers(0, 1000),
    level=st.sampled_from([0.0, 1e-6, 0.3]),
)
@settings(max_examples=40, deadline=None)
def test_noise_moves_no_frame_far_and_voices_none(frames: int, seed: int, level: float) -> None:
    random = np.random.default_rng(seed)
    told_hz = torch.from_numpy(random.uniform(50, 1100, frames) * (random.random(frames) < 0.7)).float()
    noise = torch.from_numpy(level * random.standard_normal((frames - 1) * 160 + int(random.integers(160))))
    found_hz = refined(told_hz, noise.float())
    assert found_hz.shape == told_hz.shape
    assert torch.equal(found_hz > 0, told_hz > 0)
    assert bool(((found_hz - told_hz).abs() <= 0.2001 * told_hz).all())

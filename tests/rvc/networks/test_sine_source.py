"""The harmonic source against float64 sums of the textbook formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.sine_source import (
    SineSource,
    _held_cycles_float32,
    gliding_phase,
    held_phase,
    noisy_sines,
    running_cycles_float32,
    wrapped,
)

SAMPLE_RATE = 40000
HOP = 400
SILENT = Noise(0.0)
Array = np.ndarray[Any, Any]


def five_minutes_of_f0() -> Array:
    """A wandering melody with unvoiced gaps, 100 frames per second."""
    rng = np.random.RandomState(7)
    f0_hz = 220 * 2 ** np.cumsum(rng.normal(0, 0.02, 30000)).clip(-2, 2)
    f0_hz[rng.rand(30000) < 0.2] = 0
    return f0_hz.astype(np.float32)


def distance_in_cycles(phase: Array, reference: Array) -> float:
    return float(np.abs((phase - reference + 0.5) % 1 - 0.5).max())


def test_held_phase_stays_exact_over_five_minutes() -> None:
    f0_hz = five_minutes_of_f0()
    reference = np.cumsum(np.repeat(f0_hz.astype(np.float64), HOP)) / SAMPLE_RATE
    phase = held_phase(torch.from_numpy(f0_hz)[None], HOP, SAMPLE_RATE)[0].numpy()
    assert distance_in_cycles(phase, reference) < 2e-6  # float32 inside a frame of up to 9 cycles


def test_float32_alone_keeps_the_phase_over_five_minutes() -> None:
    """The form for devices without float64, run where its result can be checked."""
    f0_hz = five_minutes_of_f0()
    per_frame = f0_hz.astype(np.float64) * HOP / SAMPLE_RATE
    reference = np.cumsum(per_frame) - per_frame
    cycles = _held_cycles_float32(torch.from_numpy(f0_hz)[None], HOP, SAMPLE_RATE)
    starts = running_cycles_float32(cycles)
    assert starts.dtype == torch.float32
    assert starts.shape == (1, 30000)
    # A thousandth of a cycle in five minutes is a detuning of a few millionths of a Hz.
    assert distance_in_cycles(starts[0].numpy(), reference) < 1e-3


def test_float32_alone_does_not_drift_on_one_long_note() -> None:
    """A constant f0 adds the same rounding error at every frame: the worst case."""
    f0_hz = np.full(30000, 233.0819, dtype=np.float32)
    reference = np.arange(30000) * (np.float64(f0_hz[0]) * HOP / SAMPLE_RATE)
    starts = running_cycles_float32(_held_cycles_float32(torch.from_numpy(f0_hz)[None], HOP, SAMPLE_RATE))
    assert distance_in_cycles(starts[0].numpy(), reference) < 2e-3


def test_gliding_phase_stays_exact_over_a_minute() -> None:
    frames = np.arange(6000 * HOP) / HOP
    f0_hz = np.interp(frames, np.arange(6000), five_minutes_of_f0()[:6000]).astype(np.float32)
    reference = np.cumsum(f0_hz.astype(np.float64)) / SAMPLE_RATE
    phase = gliding_phase(torch.from_numpy(f0_hz)[None], HOP, SAMPLE_RATE)[0].numpy()
    assert distance_in_cycles(phase, reference) < 1e-5


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(0, 1100, width=32)))
def test_both_forms_agree_for_any_f0(f0_hz: Array) -> None:
    tensor = torch.from_numpy(f0_hz)[None]
    starts = running_cycles_float32(_held_cycles_float32(tensor, HOP, SAMPLE_RATE))
    exact = held_phase(tensor, HOP, SAMPLE_RATE)[:, ::HOP] - tensor / SAMPLE_RATE
    assert float(wrapped(starts - exact).abs().max()) < 3e-5


def test_source_is_a_sine_where_voiced_and_silent_where_not() -> None:
    source = SineSource(SAMPLE_RATE, HOP, harmonics=1)
    torch.nn.init.constant_(source.l_linear.weight, 3.0)
    torch.nn.init.constant_(source.l_linear.bias, 0.25)
    f0_hz = np.array([200, 200, 0, 310], dtype=np.float32)
    with torch.no_grad():
        rendered = source(torch.from_numpy(f0_hz)[None], SILENT)[0, 0].numpy()
    held = np.repeat(f0_hz.astype(np.float64), HOP)
    sine = 0.1 * np.sin(2 * np.pi * np.cumsum(held) / SAMPLE_RATE) * (held > 0)
    np.testing.assert_allclose(rendered, np.tanh(3 * sine + 0.25), atol=2e-6)


def test_noise_is_weak_under_a_tone_and_a_third_of_it_elsewhere() -> None:
    voiced = torch.arange(200000)[None] < 100000
    noise = Noise(1.0, torch.Generator().manual_seed(3))
    quiet = noisy_sines(torch.zeros(1, 200000), voiced, 1, Noise(0.0))
    noisy = noisy_sines(torch.zeros(1, 200000), voiced, 1, noise)
    added = (noisy - quiet)[0, :, 0]
    assert abs(float(added[:100000].std()) - 0.003) < 0.003 * 0.02
    assert abs(float(added[100000:].std()) - 0.1 / 3) < 0.1 / 3 * 0.02


def test_overtones_are_multiples_of_the_fundamental_with_random_starts() -> None:
    phase = torch.linspace(0, 50, 5000)[None]
    voiced = torch.ones(1, 5000, dtype=torch.bool)
    plain = noisy_sines(phase, voiced, 9, SILENT)[0].numpy()
    expected = 0.1 * np.sin(2 * np.pi * phase[0].double().numpy()[:, None] * np.arange(1, 10))
    np.testing.assert_allclose(plain, expected, atol=2e-5)
    started = noisy_sines(phase, voiced, 9, Noise(1e-9, torch.Generator().manual_seed(1)))[0].numpy()
    np.testing.assert_allclose(started[:, 0], plain[:, 0], atol=1e-6)  # the fundamental starts at 0
    assert np.all(np.abs(started[0, 1:]) > 1e-4)

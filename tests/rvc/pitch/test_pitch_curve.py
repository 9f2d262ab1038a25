"""Quantising, transposing and tuning, against the formulas of RVC in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ultimate_rvc.rvc.pitch.curve import autotune, coarse_pitch, proposed_shift, transpose_f0

CURVES = arrays.arrays(
    np.float32,
    st.integers(1, 50),
    elements=st.one_of(st.just(0.0), st.floats(20, 4000, width=32)),
)


@given(f0_hz=CURVES)
def test_coarse_pitch_follows_rvcs_formula(f0_hz: np.ndarray) -> None:
    mel = 1127 * np.log(1 + f0_hz.astype(np.float64) / 700)
    mel[mel > 0] = (mel[mel > 0] - 77.75497) * 254 / (1064.40823 - 77.75497) + 1
    steps = np.clip(mel, 1, 255)
    found = coarse_pitch(torch.from_numpy(f0_hz)).numpy()
    assert found.dtype == np.int64
    # Equal, but for values so near to a half that single precision rounds them to the other side.
    clear = np.abs(steps % 1 - 0.5) > 1e-3
    np.testing.assert_array_equal(found[clear], np.rint(steps[clear]))
    assert np.abs(found - steps).max() <= 0.501


def test_coarse_pitch_at_the_ends_of_the_range() -> None:
    f0_hz = torch.tensor([[0.0, 50.0, 49.0], [1100.0, 1101.0, 9000.0]])
    assert coarse_pitch(f0_hz).tolist() == [[1, 1, 1], [255, 255, 255]]


@given(f0_hz=CURVES, semitones=st.integers(-48, 48))
def test_transposition_moves_voiced_frames_only(f0_hz: np.ndarray, semitones: int) -> None:
    moved = transpose_f0(torch.from_numpy(f0_hz), semitones).numpy()
    np.testing.assert_allclose(moved, f0_hz.astype(np.float64) * 2 ** (semitones / 12), rtol=1e-6)


@given(f0_hz=CURVES, strength=st.floats(0, 1), semitones=st.floats(-12, 12))
def test_autotune_moves_by_its_strength_in_the_log_domain(
    f0_hz: np.ndarray, strength: float, semitones: float
) -> None:
    tuned = autotune(torch.from_numpy(f0_hz), strength, semitones).double().numpy()
    voiced = f0_hz > 0
    assert not tuned[~voiced].any()
    note = 12 * np.log2(f0_hz[voiced].astype(np.float64) / 440) + semitones
    expected = note + strength * (np.rint(note) - note)
    clear = np.abs(note % 1 - 0.5) > 1e-3  # which of two notes is nearer is no matter of rounding errors
    np.testing.assert_allclose(12 * np.log2(tuned[voiced] / 440)[clear], expected[clear], atol=1e-4)


def test_full_autotune_after_transposition_lands_on_the_note() -> None:
    f0_hz = torch.tensor([450.0, 0.0, 425.0, 220.0])
    a5_unvoiced_gsharp5_a4 = torch.tensor([880.0, 0.0, 830.609, 440.0])
    torch.testing.assert_close(autotune(f0_hz, 1.0, 12), a5_unvoiced_gsharp5_a4, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("voiced_hz", "threshold_hz", "semitones"),
    [
        ([110.0, 110.0, 110.0], 155.0, 6),
        ([100.0, 200.0], 155.0, 1),  # the median of two is their mean, 150 Hz
        ([90.0, 100.0, 300.0], 255.0, 12),  # 16 semitones, cut to an octave
        ([800.0], 155.0, -12),
        ([155.0], 155.0, 0),
        ([], 155.0, 0),
    ],
)
def test_proposed_shift_brings_the_median_to_the_threshold(
    voiced_hz: list[float], threshold_hz: float, semitones: int
) -> None:
    with_pauses = torch.tensor([0.0, *voiced_hz, 0.0, 0.0])
    assert proposed_shift(with_pauses, threshold_hz) == semitones

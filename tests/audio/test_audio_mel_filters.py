"""Mel filters against librosa's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librosa.filters import mel as librosa_mel

from ultimate_rvc.audio.mel_filters import mel_filters


@pytest.mark.parametrize(
    ("n_fft", "n_mels", "f_min_hz", "htk"),
    [
        pytest.param(1024, 128, 30, True, id="rmvpe"),
        pytest.param(1024, 128, 0, False, id="fcpe"),
        pytest.param(400, 80, 0, False, id="whisper"),
    ],
)
def test_the_filters_in_use_are_librosas_to_a_rounding(
    n_fft: int, n_mels: int, f_min_hz: float, htk: bool
) -> None:
    ours = mel_filters(
        sample_rate=16_000, n_fft=n_fft, n_mels=n_mels, f_min_hz=f_min_hz, f_max_hz=8000, htk=htk
    )
    theirs = librosa_mel(sr=16_000, n_fft=n_fft, n_mels=n_mels, fmin=f_min_hz, fmax=8000, htk=htk)
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    sample_rate=st.integers(8_000, 96_000),
    n_fft=st.integers(4, 600).map(lambda half: 2 * half),
    n_mels=st.integers(1, 160),
    edges=st.tuples(st.floats(0, 0.4), st.floats(0.05, 0.5)),
    htk=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Empty filters")  # librosa's, where bands are narrower than bins
def test_any_filters_are_librosas(
    sample_rate: int, n_fft: int, n_mels: int, edges: tuple[float, float], htk: bool
) -> None:
    f_min_hz = sample_rate * edges[0]
    f_max_hz = min(f_min_hz + sample_rate * edges[1], sample_rate / 2)
    ours = mel_filters(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min_hz=f_min_hz, f_max_hz=f_max_hz, htk=htk
    )
    theirs = librosa_mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min_hz, fmax=f_max_hz, htk=htk)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * max(theirs.max(), 1e-6))

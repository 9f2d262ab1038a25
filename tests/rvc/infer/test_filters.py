"""The high-pass in blocks against scipy on the whole signal."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from ultimate_rvc.rvc.infer.optimization.filters import BLOCK_SAMPLES, ScipyHighpass

REFERENCE = scipy.signal.butter(5, 48, "highpass", fs=16_000)


@pytest.mark.parametrize("samples", [1, 2, 19, 160, 16_000, BLOCK_SAMPLES + 1, 2 * BLOCK_SAMPLES + 5000])
def test_blocks_equal_filtfilt_of_the_whole(samples: int) -> None:
    waveform = (np.random.default_rng(samples).normal(size=samples) * 0.2 + 0.3).astype(np.float32)
    padding = min(18, samples - 1)
    expected = scipy.signal.filtfilt(*REFERENCE, waveform.astype(np.float64), padlen=padding)
    # float32 rounding of the result is all that may differ.
    filtered = ScipyHighpass().apply(torch.from_numpy(waveform))
    np.testing.assert_allclose(filtered.numpy(), expected, atol=1e-6)

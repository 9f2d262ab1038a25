"""Both high-passes against scipy on the whole signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from ultimate_rvc.rvc.infer.highpass import BLOCK_SAMPLES, ScipyHighpass
from ultimate_rvc.rvc.infer.optimization.device_highpass import FFT_BATCH, HOP, TAPS, TorchHighpass

REFERENCE = scipy.signal.butter(5, 48, "highpass", fs=16_000)
CPU = torch.device("cpu")
ODD_PADDING = 18


def filtfilt(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    padding = min(ODD_PADDING, len(waveform) - 1)
    filtered: NDArray[np.float64] = scipy.signal.filtfilt(
        *REFERENCE, waveform.astype(np.float64), padlen=padding
    )
    return filtered


def noise(samples: int, *, level: float = 0.2, offset: float = 0.3) -> NDArray[np.float32]:
    random = np.random.default_rng(samples)
    return (random.uniform(-level, level, samples) + offset).astype(np.float32)


class NewTensors(TorchDispatchMode):
    """The sizes of what is made, without what looks at a tensor anew or works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and function._schema.returns[0].alias_info is None:
            self.sizes.append(result.numel())
        return result


@pytest.mark.parametrize("samples", [1, 2, 19, 160, 16_000, BLOCK_SAMPLES + 1, 2 * BLOCK_SAMPLES + 5000])
def test_blocks_equal_filtfilt_of_the_whole(samples: int) -> None:
    waveform = noise(samples)
    filtered = ScipyHighpass().apply(torch.from_numpy(waveform))
    # float32 rounding of the result is all that may differ.
    np.testing.assert_allclose(filtered.numpy(), filtfilt(waveform), atol=1e-6)


@pytest.mark.parametrize(
    "samples",
    [*range(1, 42), TAPS - 1, TAPS, HOP - 37, HOP - 36, HOP - 35, HOP, HOP + 1, 3 * HOP + 5, 500_000],
)
def test_torch_equals_filtfilt_at_every_kind_of_length(samples: int) -> None:
    waveform = noise(samples, level=0.7)
    filtered = TorchHighpass(CPU).apply(torch.from_numpy(waveform))
    assert filtered.dtype == torch.float32
    np.testing.assert_allclose(filtered.numpy(), filtfilt(waveform), rtol=0, atol=1e-5)


@given(samples=st.integers(1, 60_000), level=st.floats(0, 1), offset=st.floats(-1, 1))
@settings(deadline=None, max_examples=40)
def test_torch_equals_filtfilt_for_any_length_level_and_offset(
    samples: int, level: float, offset: float
) -> None:
    waveform = np.clip(noise(samples, level=level, offset=offset), -1, 1)
    filtered = TorchHighpass(CPU).apply(torch.from_numpy(waveform))
    np.testing.assert_allclose(filtered.numpy(), filtfilt(waveform), rtol=0, atol=1e-5)


@given(
    waveform=arrays.arrays(
        np.float32,
        st.integers(1, 300),
        # 0 and duplicates come often; steps of full height are the worst for the edges.
        elements=st.floats(-1, 1, width=32),
        fill=st.sampled_from([0.0, -1.0, 1.0]),
    )
)
@settings(deadline=None, max_examples=150)
def test_both_equal_filtfilt_for_short_signals_of_any_shape(waveform: NDArray[np.float32]) -> None:
    expected = filtfilt(waveform)
    before = waveform.copy()
    for highpass in (ScipyHighpass(), TorchHighpass(CPU)):
        filtered = highpass.apply(torch.from_numpy(waveform))
        assert (filtered.dtype, filtered.shape) == (torch.float32, waveform.shape)
        np.testing.assert_allclose(filtered.numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(waveform, before)


@given(samples=st.integers(1, 40_000), exponent=st.integers(-3, 3), clicks=st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_torch_equals_filtfilt_at_any_scale_and_between_clicks(
    samples: int, exponent: int, clicks: int
) -> None:
    random = np.random.default_rng([samples, clicks])
    waveform = np.zeros(samples, np.float32)  # digital silence
    waveform[random.integers(0, samples, clicks)] = random.choice([-1.0, 1.0], clicks)
    waveform *= np.float32(10.0**exponent)
    filtered = TorchHighpass(CPU).apply(torch.from_numpy(waveform))
    np.testing.assert_allclose(filtered.numpy(), filtfilt(waveform), rtol=0, atol=1e-5 * 10.0**exponent)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.25])
def test_torch_makes_silence_of_a_constant(level: float) -> None:
    filtered = TorchHighpass(CPU).apply(torch.full((3 * HOP,), level))
    assert not filtered.any()


def test_torch_holds_a_recording_once_beside_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultimate_rvc.rvc.infer.optimization.device_highpass.FFT_BATCH", 2)
    waveform = torch.from_numpy(noise(40 * HOP))
    with NewTensors() as new:
        TorchHighpass(CPU).apply(waveform)
    largest, second = sorted(new.sizes)[:-3:-1]
    assert largest > len(waveform) / 2 > second


@pytest.mark.parametrize("hertz", [1, 20, 48, 60, 440])
def test_torch_equals_filtfilt_for_tones_about_the_corner(hertz: int) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(40_000) / 16_000 + 1).astype(np.float32)
    filtered = TorchHighpass(CPU).apply(torch.from_numpy(tone))
    np.testing.assert_allclose(filtered.numpy(), filtfilt(tone), rtol=0, atol=1e-5)


def test_torch_joins_its_batches_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FFT_BATCH > 2
    monkeypatch.setattr("ultimate_rvc.rvc.infer.optimization.device_highpass.FFT_BATCH", 2)
    waveform = noise(5 * HOP + 100)
    filtered = TorchHighpass(CPU).apply(torch.from_numpy(waveform))
    np.testing.assert_allclose(filtered.numpy(), filtfilt(waveform), rtol=0, atol=1e-5)


def test_torch_needs_no_float64_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    highpass = TorchHighpass(CPU)
    seen: set[torch.dtype] = set()
    original = torch.fft.rfft

    def spy(signal: torch.Tensor, *arguments: int) -> torch.Tensor:
        seen.add(signal.dtype)
        spectrum: torch.Tensor = original(signal, *arguments)
        return spectrum

    monkeypatch.setattr(torch.fft, "rfft", spy)
    highpass.apply(torch.zeros(100))
    assert seen == {torch.float32}
    assert highpass._response.dtype == torch.complex64

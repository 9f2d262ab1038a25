"""Spectrograms of training, against librosa and on sounds whose spectrum is known."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ultimate_rvc.rvc.train.mel import (
    MEL_FLOOR,
    MULTI_SCALE_BANDS,
    MULTI_SCALE_WINDOWS,
    MelSpectrogram,
    MultiScaleMelLoss,
    mel_loss,
    spectrogram,
)

MEL = MelSpectrogram(40000, n_fft=2048, hop_length=400, mel_bands=125)


def noise(*shape: int) -> torch.Tensor:
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(2))


@given(frames=st.integers(6, 40), sizes=st.sampled_from([(1024, 320), (2048, 400), (2048, 480), (1024, 240)]))
@settings(max_examples=15, deadline=None)
def test_there_is_one_frame_per_hop(frames: int, sizes: tuple[int, int]) -> None:
    n_fft, hop_length = sizes
    waveform = noise(2, 1, frames * hop_length)
    magnitudes = spectrogram(waveform, n_fft, hop_length)
    assert magnitudes.shape == (2, n_fft // 2 + 1, frames)
    assert torch.equal(magnitudes, spectrogram(waveform[:, 0], n_fft, hop_length))
    torch.testing.assert_close(magnitudes[1], spectrogram(waveform[1, 0], n_fft, hop_length))


def test_magnitudes_are_those_of_librosa() -> None:
    waveform = noise(8000).numpy()
    margin = (2048 - 400) // 2
    expected = librosa.stft(np.pad(waveform, margin, "reflect"), n_fft=2048, hop_length=400, center=False)
    found = spectrogram(torch.from_numpy(waveform), 2048, 400).numpy()
    np.testing.assert_allclose(found, np.sqrt(np.abs(expected) ** 2 + 1e-6), rtol=1e-4, atol=1e-4)


def test_mel_bands_are_those_of_librosa() -> None:
    magnitudes = spectrogram(noise(8000), 2048, 400)
    bases = librosa.filters.mel(sr=40000, n_fft=2048, n_mels=125)
    expected = np.log(np.maximum(bases @ magnitudes.numpy(), MEL_FLOOR))
    np.testing.assert_allclose(MEL.of_magnitudes(magnitudes), expected, rtol=0, atol=1e-4)


def test_silence_has_a_spectrum_and_a_gradient() -> None:
    silence = torch.zeros(1, 1, 8000, requires_grad=True)
    mel = MEL(silence)
    assert torch.isfinite(mel).all()
    mel.sum().backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


def test_the_distance_is_in_natural_logarithms() -> None:
    waveform = noise(1, 1, 8000)
    assert mel_loss(MEL(waveform), MEL(waveform)) == 0
    louder = mel_loss(MEL(waveform), MEL(2 * waveform))
    assert float(louder) == pytest.approx(np.log(2), rel=1e-3)


@pytest.mark.parametrize("sample_rate", [24000, 32000, 40000, 48000])
def test_the_distance_at_many_scales_is_in_common_logarithms(sample_rate: int) -> None:
    distance = MultiScaleMelLoss(sample_rate)
    waveform = noise(2, 1, 12000)
    assert distance(waveform, waveform) == 0
    # Bands too narrow to hold a bin are empty in both, and add nothing.
    filled = [
        (librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=bands).max(axis=1) > 0).mean()
        for bands, window in zip(MULTI_SCALE_BANDS, MULTI_SCALE_WINDOWS, strict=True)
    ]
    louder = float(distance(waveform, 2 * waveform))
    assert louder == pytest.approx(np.log10(2) * sum(filled), rel=0.05)


def test_what_is_kept_from_scoring_serves_training() -> None:
    mel = MelSpectrogram(22050, n_fft=600, hop_length=150, mel_bands=20)  # sizes that nothing else asks for
    waveform = noise(1, 1, 3000)
    with torch.inference_mode():
        mel(waveform)
    waveform.requires_grad_()
    mel(waveform).sum().backward()
    assert waveform.grad is not None


def test_the_distance_at_many_scales_teaches_the_render() -> None:
    fake = noise(1, 1, 6000).requires_grad_()
    MultiScaleMelLoss(32000)(torch.zeros(1, 1, 6000), fake).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0

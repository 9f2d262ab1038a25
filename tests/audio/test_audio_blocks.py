"""A sound in blocks is the sound: decoded, resampled, measured and written as if it came whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_files import stereo_tones
from ultimate_rvc.audio import decode as decoding
from ultimate_rvc.audio.decode import decode, decode_in_blocks, decode_sides, decode_sides_in_blocks
from ultimate_rvc.audio.encode import encode, encode_blocks
from ultimate_rvc.audio.resample import resample, resampled_blocks
from ultimate_rvc.audio.true_peak import true_peak, true_peak_of_blocks
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import AudioError

RATE = 44_100


def in_blocks(waveform: np.ndarray, lengths: list[int]) -> Iterator[np.ndarray]:
    """``(channels, samples)`` cut into blocks of these lengths, again and again."""
    start, number = 0, 0
    while start < waveform.shape[1]:
        yield waveform[:, start : start + lengths[number % len(lengths)]]
        start += lengths[number % len(lengths)]
        number += 1


def noise(seed: int, samples: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_decoded_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audio_format: AudioFormat
) -> None:
    path = tmp_path / f"song.{audio_format}"
    encode(path, stereo_tones(2.0, RATE), RATE)
    whole, rate = decode(path)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 5000)
    blocks = list(decode_in_blocks(path))
    assert len(blocks) > 10
    assert np.array_equal(np.concatenate(blocks, axis=1), whole)
    assert np.array_equal(decode(path)[0], whole)
    assert {each for _, each in decode_sides_in_blocks(path)} == {rate}


def test_surround_sound_is_folded_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.wav"
    encode(path, noise(0, 30_000, channels=6), RATE)
    whole, _ = decode_sides(path)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 5000)
    blocks = [block for block, _ in decode_sides_in_blocks(path)]
    assert np.array_equal(np.concatenate(blocks, axis=1), whole)


@given(
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=4),
    seed=st.integers(0, 9),
    samples=st.integers(1, 9000),
)
def test_the_true_peak_of_blocks_is_that_of_the_whole(lengths: list[int], seed: int, samples: int) -> None:
    waveform = noise(seed, samples)
    assert true_peak_of_blocks(in_blocks(waveform, lengths), RATE) == pytest.approx(
        true_peak(waveform, RATE), rel=1e-6
    )


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44_100, 48_000), (48_000, 44_100), (44_100, 44_100)])
def test_resampled_in_blocks(from_rate: int, to_rate: int) -> None:
    waveform = stereo_tones(1.0, from_rate)
    blocks = list(resampled_blocks(in_blocks(waveform, [7000, 123]), from_rate, to_rate))
    joined, whole = np.concatenate(blocks, axis=1), resample(waveform, from_rate, to_rate)
    assert joined.shape[1] == pytest.approx(whole.shape[1], abs=1)
    length = min(joined.shape[1], whole.shape[1])
    assert np.abs(joined[:, :length] - whole[:, :length]).max() < 1e-5


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_written_in_blocks(tmp_path: Path, audio_format: AudioFormat) -> None:
    waveform = stereo_tones(3.5, RATE)
    encode(tmp_path / f"whole.{audio_format}", waveform, RATE)
    encode_blocks(
        tmp_path / f"blocks.{audio_format}",
        in_blocks(waveform, [50_000, 1]),
        2,
        RATE,
        audio_format=audio_format,
    )
    written = [decode(tmp_path / f"{name}.{audio_format}")[0] for name in ("blocks", "whole")]
    assert written[0].shape == written[1].shape
    # Opus is 48 kHz inside, where resampling in blocks rounds otherwise.
    assert np.abs(written[0] - written[1]).max() < (0.01 if audio_format is AudioFormat.OGG else 1e-7)


def test_a_block_over_full_scale_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    waveform = np.concatenate([noise(0, 90_000), noise(1, 90_000) * 3], axis=1)
    with pytest.raises(AudioError, match="would clip"):
        encode_blocks(path, in_blocks(waveform, [10_000]), 2, RATE, audio_format=AudioFormat.WAV)
    assert not list(tmp_path.iterdir())

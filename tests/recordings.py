"""Recordings to train on: real speech and singing out of the test data, and signals made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.audio.encode import encode

DATA = Path(__file__).resolve().parent / "data"
RATE = 32_000

FloatArray = NDArray[np.float32]


def speech(sample_rate: int = RATE) -> FloatArray:
    """Six seconds of recorded speech."""
    return decode_mono(DATA / "content" / "speech.wav", sample_rate)


def singing(song: str = "water", sample_rate: int = RATE) -> FloatArray:
    """Ten seconds of dry singing: water, thunder or evening."""
    return decode_mono(DATA / "songs" / f"{song}_vocals.ogg", sample_rate)


def instruments(song: str = "water", sample_rate: int = RATE) -> FloatArray:
    """What was played to it."""
    return decode_mono(DATA / "songs" / f"{song}_instrumental.ogg", sample_rate)


def noise(seconds: float, level: float = 0.1, sample_rate: int = RATE) -> FloatArray:
    samples = np.random.default_rng(5).normal(size=round(seconds * sample_rate))
    return (level * samples).clip(-1, 1).astype(np.float32)


def glide(seconds: float, from_hz: float, to_hz: float, sample_rate: int = RATE) -> FloatArray:
    """A voice-like buzz whose pitch goes from one frequency to another in a straight line."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * (from_hz * time + (to_hz - from_hz) / (2 * seconds) * time**2)
    return np.sum([0.3 / n * np.sin(n * phase) for n in range(1, 9)], axis=0).astype(np.float32)


def write(path: Path, *waveforms: FloatArray, sample_rate: int = RATE) -> Path:
    """Write a recording of several parts to a file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, np.concatenate(waveforms), sample_rate)
    return path

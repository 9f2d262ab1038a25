"""The lossless form in which stems rest between steps: WAV of 32-bit floats, which any player opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from ultimate_rvc.errors import AudioError
from ultimate_rvc.files import writing

FloatArray = NDArray[np.float32]


def write_stem(path: Path, waveform: FloatArray, sample_rate: int) -> None:
    """Write ``waveform``, shape (samples,) or (channels, samples), bit for bit.

    Raises
    ------
    AudioError
        If it is larger than scipy can write: 4 GiB, where it is too old for RF64.
    OSError
        Naming ``path``, if it cannot be written.
    """
    try:
        with writing(path):
            wavfile.write(path, sample_rate, np.asarray(waveform, np.float32).T)
    except ValueError as error:
        minutes = waveform.shape[-1] / sample_rate / 60
        raise AudioError(
            f"{minutes:.0f} minutes at {sample_rate} Hz are more than a WAV file can hold (4 GiB); "
            "choose a lower output_sr or a shorter song."
        ) from error


def read_stem(path: Path) -> tuple[FloatArray, int]:
    """Read what :func:`write_stem` wrote: ``(channels, samples)`` and the sample rate."""
    sample_rate, frames = wavfile.read(path, mmap=True)  # mapped, so that only one copy is held
    return np.ascontiguousarray(np.atleast_2d(frames.T), np.float32), int(sample_rate)


def stem_seconds(path: Path) -> float:
    """Length of a stem, without reading its samples."""
    sample_rate, frames = wavfile.read(path, mmap=True)
    return float(len(frames) / sample_rate)

"""Portions of a work's sound that can be heard before it is done: files in its folder, in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.encode import encode

FloatArray = NDArray[np.float32]

FOLDER = "heard"


def publish(work_folder: Path, number: int, waveform: FloatArray, sample_rate: int) -> None:
    """Let portion ``number``, float32 ``(samples,)``, be heard; it appears when it is complete."""
    folder = work_folder / FOLDER
    folder.mkdir(exist_ok=True)
    encode(folder / f"{number:06}.wav", waveform, sample_rate)


def published(work_folder: Path) -> list[Path]:
    """The portions so far, in their order; none once the work is over."""
    try:
        return sorted((work_folder / FOLDER).glob("[0-9]*.wav"))
    except FileNotFoundError:  # it went while it was read
        return []

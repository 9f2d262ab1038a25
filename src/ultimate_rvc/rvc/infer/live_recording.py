"""What a live conversion said, as a file that appears when it is complete."""

from __future__ import annotations

import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.level import pcm16
from ultimate_rvc.outputs import Placed, Target, place

RECORDING_SUFFIX = ".wav"
SAMPLE_BYTES = 2

FloatArray = NDArray[np.float32]


class LiveRecording:
    """A wav file of 16 bits, mono, that grows in a folder of its own and is put in its place at the end."""

    def __init__(self, target: Target, sample_rate: int) -> None:
        self._target = target
        self._folder = tempfile.TemporaryDirectory(prefix="urvc-live-")
        self._path = Path(self._folder.name) / "live.wav"
        self._file = wave.open(str(self._path), "wb")  # noqa: SIM115  closed by finish
        self._file.setnchannels(1)
        self._file.setsampwidth(SAMPLE_BYTES)
        self._file.setframerate(sample_rate)

    def write(self, block: FloatArray) -> None:
        """Add float32 ``(samples,)`` in [-1, 1]."""
        self._file.writeframes(pcm16(block).tobytes())

    def finish(self) -> Placed:
        """Complete the file and put it in its place."""
        self._file.close()
        try:
            return place(self._path, self._target)
        finally:
            self._folder.cleanup()

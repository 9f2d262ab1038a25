"""Files converted together, so that their chunks share batches; a bad one does not cost the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.errors import AudioError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Converted:
    """A file in the voice."""

    waveform: FloatArray
    """``(samples,)`` at the rate of the voice."""
    audio_seconds: float
    elapsed_seconds: float
    """Its share by length of the time for all: its own is not known where files share batches."""
    shift_semitones: int


def convert_apart(
    pipeline: Pipeline, sources: Sequence[Path], settings: ConversionSettings, progress: Progress
) -> list[Converted | AudioError]:
    """What became of each file, in their order; all of their audio is held in memory at once."""
    started = time.perf_counter()
    try:
        recordings = [decode(source) for source in sources]
        waveforms = pipeline.convert_all(recordings, settings, progress)
    except AudioError as error:
        if len(sources) == 1:
            return [error]
        # Audio is refused before any of it is converted, so looking for the bad file costs little.
        middle = len(sources) // 2
        return [
            made
            for half in (sources[:middle], sources[middle:])
            for made in convert_apart(pipeline, half, settings, progress)
        ]
    lengths = [waveform.shape[-1] / sample_rate for waveform, sample_rate in recordings]
    per_second = (time.perf_counter() - started) / sum(lengths)
    return [
        Converted(waveform, seconds, seconds * per_second, shift)
        for waveform, seconds, shift in zip(waveforms, lengths, pipeline.shifts_semitones, strict=True)
    ]


def sentence_with(source: Path, error: Exception) -> str:
    """The sentence, with the file: what is wrong with samples is said without knowing where they come from."""
    sentence = str(error)
    return sentence if source.name in sentence else f"{source.name}: {sentence}"

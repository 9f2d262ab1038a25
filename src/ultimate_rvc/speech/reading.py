"""A whole text read aloud: passage by passage, equally loud, with pauses, in one waveform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.engines import SpeechEngine, checked_speaker
from ultimate_rvc.speech.passages import MOST_TEXT, passages

FloatArray = NDArray[np.float32]

EDGE_SECONDS = 0.005  # faded at both ends of a passage, so that none begins with a click
SPEECH_RMS = 0.08  # -22 dBFS, of every passage
LOUDEST = 0.95
QUIETEST_RMS = 1e-4  # below, a passage is silence and stays it


def read_aloud(
    text: str, engine: SpeechEngine, speaker: str | None, rate: float, seed: int, progress: Progress
) -> tuple[FloatArray, int]:
    """``text`` as speech ``(samples,)`` and its sample rate in Hz.

    Raises
    ------
    SpeechError
        There is nothing to read, too much, or no such speaker.
    """
    if len(text) > MOST_TEXT:
        raise SpeechError(
            f"The text has {len(text):,} characters, and at most {MOST_TEXT:,} are read at once: cut it into parts."
        )
    parts = passages(text)
    name = checked_speaker(engine, speaker)
    pieces: list[FloatArray] = []
    sample_rate = 0
    for number, passage in enumerate(parts):
        progress.report("speak", number / len(parts), passage.text[:60])
        waveform, own_rate = engine.synthesize(passage.text, name, rate, seed)
        if not waveform.size:
            continue
        sample_rate = sample_rate or own_rate
        waveform = resample(waveform, own_rate, sample_rate) if own_rate != sample_rate else waveform
        pieces += [
            _joinable(waveform, sample_rate),
            np.zeros(round(passage.pause_seconds * sample_rate), np.float32),
        ]
    if not pieces:
        raise SpeechError("There is nothing in the text that can be read aloud.")
    progress.report("speak", 1.0)
    return np.concatenate(pieces[:-1]), sample_rate  # the last pause is nobody's


def _joinable(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """A passage at the common level, its ends faded."""
    level = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    if level < QUIETEST_RMS:
        return waveform
    gain = min(SPEECH_RMS / level, LOUDEST / float(np.abs(waveform).max()))
    result = waveform * np.float32(gain)
    edge = min(round(EDGE_SECONDS * sample_rate), len(result) // 2)
    ramp = np.linspace(0, 1, edge, dtype=np.float32)
    result[:edge] *= ramp
    result[len(result) - edge :] *= ramp[::-1]
    return result

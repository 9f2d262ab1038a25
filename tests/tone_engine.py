"""An engine that is quick and known: tones for passages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.choosing import Cast
from ultimate_rvc.speech.engines import Speaker, SpeechEngine, find_speaker
from ultimate_rvc.speech.reading import Reader, read_aloud
from ultimate_rvc.speech.script import chapter_of

FloatArray = NDArray[np.float32]

LETTER_SECONDS = 0.05


class ToneEngine:
    """Reads a passage as a tone, as long as it has letters, each louder than the one before."""

    rate_hz = 16_000

    def __init__(self, silence_seconds: float = 0.0) -> None:
        self.read: list[str] = []
        self.by: list[str | None] = []
        self.rates: list[float] = []
        self._silence = np.zeros(round(silence_seconds * self.rate_hz), np.float32)

    def speakers(self) -> tuple[Speaker, ...]:
        return (Speaker("tone", "en-US", "a tone"), Speaker("other", "zh", "the same"))

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        self.read.append(text)
        self.by.append(speaker)
        self.rates.append(rate)
        count = round(len(text) * LETTER_SECONDS * self.rate_hz / rate)
        level = min(0.02 * len(self.read), 0.5)
        tone = (level * np.sin(0.3 * np.arange(count))).astype(np.float32)
        return np.concatenate([self._silence, tone, self._silence]), self.rate_hz


def reader_of(engine: ToneEngine, **more: object) -> Reader:
    return Reader(Cast(engine, engine.speakers()[0]), **more)  # type: ignore[arg-type]


def read_by(
    engine: SpeechEngine, text: str, speaker: str | None = None, pace: float = 1.0, seed: int = 0
) -> tuple[FloatArray, int]:
    """``text`` as every door has it read: ``(samples,)`` and their rate."""
    reader = Reader(Cast(engine, find_speaker(engine, speaker)), pace, seed, has_consent=True)
    speech = read_aloud(chapter_of(text), reader, Progress())
    return speech.waveform, speech.sample_rate

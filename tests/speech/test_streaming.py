"""Speech in portions: nothing lost, the first one early, the next ones growing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

import ultimate_rvc
from tone_engine import ToneEngine, reader_of
from ultimate_rvc.errors import SpeechError, VoiceNotFoundError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.reading import Piece, read_aloud, read_pieces
from ultimate_rvc.speech.script import chapter_of
from ultimate_rvc.speech.streaming import LONGEST_SECONDS, portions

FloatArray = NDArray[np.float32]

RATE = 16_000


def tone(seconds: float, gap_at: float | None = None) -> FloatArray:
    waveform = np.sin(0.3 * np.arange(round(seconds * RATE))).astype(np.float32)
    if gap_at is not None:
        waveform[round(gap_at * RATE) : round((gap_at + 0.06) * RATE)] = 0
    return waveform


def test_portions_together_are_the_speech() -> None:
    text = "First one here. Second one.\n\nThird one. " * 20
    whole = read_aloud(chapter_of(text), reader_of(ToneEngine()), Progress()).waveform
    parts = list(portions(read_pieces(chapter_of(text), reader_of(ToneEngine()), Progress())))
    assert len(parts) > 3
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_the_first_portion_ends_in_an_early_gap_and_is_faded() -> None:
    waveform = tone(5, gap_at=1.4)
    first, rest = portions([Piece(waveform, RATE, "words", 0.3)])
    assert 1.4 < len(first) / RATE < 1.47
    np.testing.assert_array_equal(np.concatenate([first, rest]), waveform)


def test_without_a_gap_the_first_piece_stays_whole() -> None:
    (first,) = portions([Piece(tone(5), RATE, "words", 0.3)])
    assert len(first) == 5 * RATE


def test_portions_grow_to_twice_what_is_heard_meanwhile() -> None:
    pieces = [Piece(tone(1.5), RATE, "words", 0.5) for _ in range(200)]
    seconds = [len(part) / RATE for part in portions(pieces)]
    assert seconds[0] == 1.5
    assert all(later >= min(1.5 * before, LONGEST_SECONDS) for before, later in pairwise(seconds[:-1]))
    assert max(seconds) < LONGEST_SECONDS + 2
    assert sum(seconds) == pytest.approx(200 * 2.0 - 0.5)


def test_the_second_passage_is_not_read_before_the_first_portion_is_there() -> None:
    engine = ToneEngine()
    stream = portions(read_pieces(chapter_of("First one here. Second one."), reader_of(engine), Progress()))
    next(stream)
    assert engine.read == ["First one here."]


def test_a_voice_says_a_stream_as_long_as_the_whole() -> None:
    text = (
        "The old gate was painted green last summer, and nobody knew why. We heard thunder behind the hills."
    )
    settings = {"seed": 3, "device": "cpu", "f0_methods": ("dio",)}
    whole, rate = ultimate_rvc.speak(text, "starter", **settings)
    stream = list(ultimate_rvc.speak_stream(text, "starter", **settings))
    assert {each for _, each in stream} == {rate}
    assert len(stream[0][0]) / rate < 2.3
    assert sum(len(waveform) for waveform, _ in stream) == pytest.approx(len(whole), abs=len(stream))
    assert all(np.abs(waveform).max() > 0.05 for waveform, _ in stream)


def test_what_is_wrong_is_told_when_the_stream_is_asked_for() -> None:
    with pytest.raises(VoiceNotFoundError):
        ultimate_rvc.speak_stream("Hello.", "nobody at all")
    with pytest.raises(SpeechError, match="speaker 'nobody' is unknown"):
        ultimate_rvc.speak_stream("Hello.", speaker="nobody")
    with pytest.raises(SpeechError, match="nothing in the text"):
        list(ultimate_rvc.speak_stream("..."))

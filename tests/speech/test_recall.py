"""A passage that was read before is given back, and only what is new is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.choosing import Cast
from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.reading import Reader, Speech, read_aloud
from ultimate_rvc.speech.recall import stamp
from ultimate_rvc.speech.script import Chapter
from ultimate_rvc.speech.ssml import chapter_of_ssml

WHO = Speaker("own", "en", "")


class Slow:
    """Reads noise, another for each text, and notes what it was asked for."""

    sample_rate = 22_050

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.model = 1

    def speakers(self) -> tuple[Speaker, ...]:
        return (WHO,)

    def identity(self, speaker: str) -> dict[str, object]:
        return {"model": self.model, "speaker": speaker}

    def synthesize(
        self, text: str, speaker: str | None, rate: float, seed: int
    ) -> tuple[NDArray[np.float32], int]:
        self.asked.append(text)
        noise = np.random.default_rng([len(text), seed]).normal(0, 0.1, 8000)
        return noise.astype(np.float32), self.sample_rate


def text(*sentences: str) -> Chapter:
    parted = '<break time="1s"/>'.join(sentences)
    return chapter_of_ssml(f"<speak>{parted}</speak>")


def read(engine: Slow, chapter: Chapter, rate: float = 1.0, seed: int = 0) -> Speech:
    return read_aloud(chapter, Reader(Cast(engine, WHO), rate, seed), Progress())


def test_the_second_time_nothing_is_read_and_all_is_the_same() -> None:
    engine, again = Slow(), Slow()
    first = read(engine, text("The first.", "And the second."))
    second = read(again, text("The first.", "And the second."))
    assert engine.asked == ["The first.", "And the second."]
    assert again.asked == []
    np.testing.assert_array_equal(first.waveform, second.waveform)
    assert (first.sample_rate, first.cues) == (second.sample_rate, second.cues)


def test_of_a_changed_text_only_the_change_is_read() -> None:
    read(Slow(), text("It stays.", "It goes."))
    engine = Slow()
    read(engine, text("It stays.", "It is new."))
    assert engine.asked == ["It is new."]


@pytest.mark.parametrize("change", ["pace", "seed", "model"])
def test_what_decides_the_sound_is_read_anew(change: str) -> None:
    read(Slow(), text("Hello."))
    engine = Slow()
    engine.model += change == "model"
    read(engine, text("Hello."), rate=1.5 if change == "pace" else 1.0, seed=int(change == "seed"))
    assert engine.asked == ["Hello."]


def test_a_stamp_tells_of_every_changed_file(tmp_path: Path) -> None:
    folder, file = tmp_path / "model", tmp_path / "recording.wav"
    folder.mkdir()
    (folder / "weights").write_bytes(b"one")
    file.write_bytes(b"sound")
    before = stamp([folder, file])
    assert stamp([folder, file]) == before
    os.utime(folder / "weights", ns=(1, 1))
    touched = stamp([folder, file])
    (folder / "more").write_bytes(b"")
    grown = stamp([folder, file])
    file.write_bytes(b"another sound")
    assert len({before, touched, grown, stamp([folder, file])}) == 4

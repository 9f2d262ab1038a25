"""Nobody is imitated before the user has said once that the person agreed."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from ultimate_rvc.cli.consent import with_consent
from ultimate_rvc.errors import ConsentError, SpeechError
from ultimate_rvc.paths import home_dir
from ultimate_rvc.speech import consent
from ultimate_rvc.speech.choosing import Cast
from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.reading import Reader
from ultimate_rvc.speech.ssml import chapter_of_ssml

OWN, PERSON = Speaker("own", "en", ""), Speaker("anna.wav", "en", "recording")


class Imitator:
    """An engine with a voice of its own and a person's."""

    def speakers(self) -> tuple[Speaker, ...]:
        return OWN, PERSON

    def takes(self, speaker: str) -> bool:
        return speaker.endswith(".wav")

    def clones(self, speaker: str) -> bool:
        return speaker == PERSON.name

    def synthesize(
        self, text: str, speaker: str | None, rate: float, seed: int
    ) -> tuple[NDArray[np.float32], int]:
        return np.zeros(100, np.float32), 16_000


@pytest.fixture(autouse=True)
def _never_asked() -> None:
    (home_dir() / consent.FILE_NAME).unlink(missing_ok=True)


PLAIN = chapter_of_ssml("<speak>Hello there.</speak>")


def reader(speaker: Speaker, *, has_consent: bool = False) -> Reader:
    return Reader(Cast(Imitator(), speaker), has_consent=has_consent)


def test_an_engines_own_voice_needs_no_consent() -> None:
    reader(OWN).check(PLAIN)
    assert not consent.has_consented()


def test_a_persons_voice_needs_it_once() -> None:
    with pytest.raises(ConsentError, match=r"'anna\.wav' is the voice of a person.* set consent,"):
        reader(PERSON).check(PLAIN)
    reader(PERSON, has_consent=True).check(PLAIN)
    reader(PERSON).check(PLAIN)


def test_a_person_in_the_midst_of_a_text_needs_it_too() -> None:
    text = '<speak>I say: <voice name="anna.wav">I agree.</voice></speak>'
    with pytest.raises(ConsentError, match=r"anna\.wav"):
        reader(OWN).check(chapter_of_ssml(text))


def test_a_text_opens_no_file_of_its_own_choice() -> None:
    text = '<speak>I say: <voice name="/home/me/diary.wav">I do not.</voice></speak>'
    with pytest.raises(
        SpeechError, match=r"Line 1 of the SSML: speaker '/home/me/diary\.wav' is a file, and a"
    ):
        reader(OWN, has_consent=True).check(chapter_of_ssml(text))
    Reader(Cast(Imitator(), Speaker("/home/me/diary.wav", "en", "")), has_consent=True).check(PLAIN)


@pytest.mark.parametrize("kept", ["{", "[]", json.dumps({"words": "I said something else."})])
def test_what_is_not_these_words_is_no_consent(kept: str) -> None:
    (home_dir() / consent.FILE_NAME).write_text(kept, encoding="utf-8")
    with pytest.raises(ConsentError):
        reader(PERSON).check(PLAIN)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "is_done"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_who_sits_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, is_done: bool) -> None:
    asked = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", asked)

    def do(has_consent: bool) -> str:
        reader(PERSON, has_consent=has_consent).check(PLAIN)
        return "done"

    if is_done:
        assert with_consent(do, is_given=False) == "done"
    else:
        with pytest.raises(ConsentError):
            with_consent(do, is_given=False)
    assert consent.WORDS in asked.getvalue()
    assert consent.has_consented() is is_done

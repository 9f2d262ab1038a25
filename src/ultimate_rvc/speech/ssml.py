"""A subset of SSML 1.1: ``speak``, ``p``, ``s``, ``break``, ``prosody``, ``sub`` and ``voice``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from xml.parsers import expat

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.passages import PARAGRAPH_PAUSE, SENTENCE_PAUSE
from ultimate_rvc.speech.script import PLAIN, Chapter, Manner, Stretch

SPEAK = "speak"
ELEMENTS = (SPEAK, "p", "s", "break", "prosody", "sub", "voice")
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "break": ("time", "strength"),
    "prosody": ("rate", "pitch", "volume"),
    "sub": ("alias",),
    "voice": ("name",),
}
# The words of the specification, which leaves their values to the engine.
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.35, "x-fast": 1.75}
PITCHES = {"x-low": -6.0, "low": -3.0, "medium": 0.0, "default": 0.0, "high": 3.0, "x-high": 6.0}
VOLUMES = {
    "silent": -120.0,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 4.0,
    "x-loud": 8.0,
}
PAUSES = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")  # noqa: RUF001
LONGEST_PAUSE = 60.0
LEAST_RATE, MOST_RATE = 0.5, 2.0
MOST_SEMITONES = 12.0
MOST_GAIN_DB = 12.0


def chapter_of_ssml(text: str) -> Chapter:
    """
    Raises
    ------
    SpeechError
        It is no well-formed XML, or has an element, an attribute or a value outside the subset; the sentence names
        the line.
    """
    reader = _Reader()
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise SpeechError(f"Line {error.lineno} of the SSML: {expat.ErrorString(error.code)}.") from error
    return Chapter(tuple(reader.stretches), is_exact=True)


class _Reader:
    """Collects stretches while expat goes through the elements."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._entity
        self.stretches: list[Stretch] = []
        self._manners: list[Manner] = [PLAIN]
        self._words: list[str] = []
        self._alias: str | None = None
        self._follows_break = False
        self._depth = 0

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if (name == SPEAK) is (self._depth > 0):
            raise self._wrong(f"<{SPEAK}> must be the outermost element, and only that.")
        self._depth += 1
        if name not in ELEMENTS:
            raise self._wrong(f"<{name}> is not understood; there are {', '.join(ELEMENTS)}.")
        if self._alias is not None:
            raise self._wrong(f"<sub> holds text only, no <{name}>.")
        self._check(name, attributes)
        self._close()
        manner = self._manners[-1]
        if name == "prosody":
            manner = self._prosody(manner, attributes)
        elif name == "voice":
            manner = replace(manner, speaker=attributes["name"], line=self._line)
        elif name == "break":
            self._pause(self._break(attributes), is_break=True)
        elif name == "sub":
            self._alias = attributes["alias"]
        self._manners.append(manner)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._close()
        self._manners.pop()
        if name in ("p", "s"):
            self._pause(PARAGRAPH_PAUSE if name == "p" else SENTENCE_PAUSE)

    def _text(self, words: str) -> None:
        self._words.append(words)

    def _entity(self, name: str, *_: object) -> None:
        raise self._wrong(f"the entity {name} is declared, and declarations are not read.")

    def _close(self) -> None:
        """What was collected becomes a stretch, in the manner that is in force."""
        words, alias = "".join(self._words), self._alias
        self._words, self._alias = [], None
        if not words.strip():
            return
        # Within a sentence no pause comes where only the manner changes.
        pause = SENTENCE_PAUSE if words.rstrip().endswith(SENTENCE_ENDS) else 0.0
        self.stretches.append(Stretch(words, self._manners[-1], pause, spoken=alias))
        self._follows_break = False

    def _pause(self, seconds: float, *, is_break: bool = False) -> None:
        """At least so much silence here; a break after a break adds to it."""
        if not self.stretches:
            self.stretches.append(Stretch("", pause_seconds=0.0))
        last = self.stretches[-1]
        before = last.pause_seconds or 0.0
        added = before + seconds if is_break and self._follows_break else max(before, seconds)
        self.stretches[-1] = replace(last, pause_seconds=added)
        self._follows_break = is_break

    # ------------------------------------------------------------ values

    def _check(self, name: str, attributes: dict[str, str]) -> None:
        known = ATTRIBUTES.get(name, ())
        for attribute in attributes:
            if attribute not in known and name != SPEAK:
                told = f"it takes {', '.join(known)}" if known else "it takes none"
                raise self._wrong(f"<{name}> has no attribute {attribute}; {told}.")
        if name in ("sub", "voice") and not attributes.get(known[0], "").strip():
            raise self._wrong(f'<{name}> needs {known[0]}="...".')

    def _prosody(self, manner: Manner, attributes: dict[str, str]) -> Manner:
        if not attributes:
            raise self._wrong("<prosody> needs rate, pitch or volume.")
        rate = self._value(attributes, "rate", RATES, 1.0, _rate, f"50% to 200%, or {_words(RATES)}")
        pitch = self._value(
            attributes, "pitch", PITCHES, 0.0, _semitones, f"-12st to +12st, or {_words(PITCHES)}"
        )
        gain = self._value(
            attributes, "volume", VOLUMES, 0.0, _decibels, f"-60dB to +12dB, or {_words(VOLUMES)}"
        )
        return replace(
            manner,
            rate=min(max(manner.rate * rate, LEAST_RATE), MOST_RATE),
            semitones=min(max(manner.semitones + pitch, -MOST_SEMITONES), MOST_SEMITONES),
            gain_db=min(manner.gain_db + gain, MOST_GAIN_DB),
        )

    def _break(self, attributes: dict[str, str]) -> float:
        strength = self._value(
            attributes, "strength", PAUSES, PAUSES["medium"], lambda _: None, _words(PAUSES)
        )
        return self._value(
            attributes, "time", {}, strength, _seconds, "a time up to 60s, such as 500ms or 1.5s"
        )

    def _value(
        self,
        attributes: dict[str, str],
        name: str,
        words: Mapping[str, float],
        usual: float,
        read: Callable[[str], float | None],
        known: str,
    ) -> float:
        given = attributes.get(name)
        if given is None:
            return usual
        value = words.get(given.strip(), read(given.strip()))
        if value is None:
            raise self._wrong(f"{name} is {given!r}, but must be {known}.")
        return value

    def _wrong(self, sentence: str) -> SpeechError:
        return SpeechError(f"Line {self._line} of the SSML: {sentence}")

    @property
    def _line(self) -> int:
        return self.parser.CurrentLineNumber


def _words(known: Mapping[str, float]) -> str:
    return ", ".join(known)


def _rate(text: str) -> float | None:
    """``120%`` or ``1.2`` of the usual pace, or ``+20%`` beyond it."""
    found = re.fullmatch(r"([+-]?)(\d+(?:\.\d+)?)(%?)", text)
    if found is None or (found[1] and not found[3]):
        return None
    value = float(found[2]) / (100 if found[3] else 1)
    value = 1 + value if found[1] == "+" else 1 - value if found[1] else value
    return value if LEAST_RATE <= value <= MOST_RATE else None


def _semitones(text: str) -> float | None:
    found = re.fullmatch(r"([+-]\d+(?:\.\d+)?)st", text)
    return _within(found, MOST_SEMITONES, MOST_SEMITONES)


def _decibels(text: str) -> float | None:
    return _within(re.fullmatch(r"([+-]\d+(?:\.\d+)?)dB", text), 60.0, MOST_GAIN_DB)


def _within(found: re.Match[str] | None, least: float, most: float) -> float | None:
    value = None if found is None else float(found[1])
    return value if value is not None and -least <= value <= most else None


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", text)
    value = None if found is None else float(found[1]) / (1000 if found[2] == "ms" else 1)
    return value if value is not None and value <= LONGEST_PAUSE else None

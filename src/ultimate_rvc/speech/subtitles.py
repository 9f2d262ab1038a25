"""Subtitles in and out: SubRip (.srt) and WebVTT (.vtt), as stretches of text with times."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from ultimate_rvc.choices import SubtitleFormat
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.script import Chapter, Stretch

# SubRip writes 00:01:02,345, WebVTT 01:02.345; both are read in both, since files in the wild mix them.
CLOCK = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]?\d)(?:[.,](\d{1,3}))?"
TIMES = re.compile(rf"^\s*{CLOCK}\s*-->\s*{CLOCK}(?:\s.*)?$")
MARKS = re.compile(r"<[^>]*>|\{\\[^}]*\}")  # <i>, <c.yellow>, {\an8}
NOT_SPOKEN = re.compile(r"^(?:NOTE|STYLE|REGION)\b")
LINE_CHARACTERS, MOST_LINES = 42, 2  # what television's guides allow


@dataclass(frozen=True)
class Cue:
    """A text and when it is said, in seconds."""

    text: str
    begin: float
    end: float


def chapter_of_subtitles(text: str) -> Chapter:
    """The cues of SubRip or WebVTT, each to begin at its time.

    Raises
    ------
    SpeechError
        Nothing in it is a time, or a cue ends before it begins; the sentence names the line.
    """
    stretches = [Stretch(cue.text, begin_seconds=cue.begin) for cue in _cues(text)]
    if not stretches:
        raise SpeechError(
            "There is no subtitle in it, with a time such as 00:00:01,000 --> 00:00:03,000: these are no subtitles."
        )
    # Some editors do not keep the cues in their order.
    return Chapter(tuple(sorted(stretches, key=lambda each: each.begin_seconds or 0.0)), is_exact=True)


def _cues(text: str) -> Iterator[Cue]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        if NOT_SPOKEN.match(lines[number]):
            while number < len(lines) and lines[number].strip():
                number += 1
        elif "-->" in lines[number]:
            begin, end = _times(lines[number], number + 1)
            first = number = number + 1
            while number < len(lines) and lines[number].strip() and "-->" not in lines[number]:
                number += 1
            is_cut = number < len(lines) and "-->" in lines[number]  # no empty line before the next cue
            words = lines[first : number - 1 if is_cut and lines[number - 1].strip().isdigit() else number]
            yield Cue(_spoken(words), begin, end)
            continue
        number += 1


def _times(line: str, number: int) -> tuple[float, float]:
    found = TIMES.match(line)
    if found is None:
        raise SpeechError(
            f"Line {number} of the subtitles is no time such as 00:00:01,000 --> 00:00:03,000: {line.strip()[:40]!r}."
        )
    groups = found.groups()
    begin, end = _seconds(groups[:4]), _seconds(groups[4:])
    if end < begin:
        raise SpeechError(f"Line {number} of the subtitles ends before it begins: {line.strip()[:40]!r}.")
    return begin, end


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = groups
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0) + float(f"0.{fraction or 0}")


def _spoken(lines: Iterable[str]) -> str:
    return html.unescape(MARKS.sub("", " ".join(line.strip() for line in lines))).strip()


# ------------------------------------------------------------------ out


def written(cues: Iterable[Cue], subtitle_format: SubtitleFormat) -> str:
    """Cues as a file; those longer than two lines are cut, each part with its share of the time."""
    is_web = subtitle_format is SubtitleFormat.VTT
    blocks = ["WEBVTT\n"] if is_web else []
    for number, part in enumerate(chain.from_iterable(map(_short, cues)), 1):
        times = f"{_clock(part.begin, is_web)} --> {_clock(part.end, is_web)}"
        blocks.append(f"{number}\n{times}\n{html.escape(part.text, quote=False) if is_web else part.text}\n")
    return "\n".join(blocks)


def _short(cue: Cue) -> Iterator[Cue]:
    lines = textwrap.wrap(cue.text, LINE_CHARACTERS)
    parts = ["\n".join(lines[at : at + MOST_LINES]) for at in range(0, len(lines), MOST_LINES)]
    total = sum(map(len, parts))
    begin = cue.begin
    for part in parts:
        end = begin + (cue.end - cue.begin) * len(part) / total
        yield Cue(part, begin, end)
        begin = end


def _clock(seconds: float, is_web: bool) -> str:
    whole, rest = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{'.' if is_web else ','}{rest:03}"

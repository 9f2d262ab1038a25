"""What is to be read aloud: chapters of stretches, whatever document they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Manner:
    """How a stretch is said, beside what was asked for the whole."""

    rate: float = 1.0
    """Times the pace of the whole."""
    semitones: float = 0.0
    """Higher or lower, at the same pace."""
    gain_db: float = 0.0
    """Louder or softer than the rest."""
    speaker: str | None = None
    """Who reads, by the engine's name; None: who reads the whole."""
    line: int | None = None
    """Where the document asks for it."""


PLAIN = Manner()


@dataclass(frozen=True)
class Stretch:
    """Text that is said in one manner."""

    text: str
    manner: Manner = PLAIN
    pause_seconds: float | None = None
    """Silence after it; None: as its punctuation says."""
    begin_seconds: float | None = None
    """Of a subtitle: when it begins."""
    spoken: str | None = None
    """What is said for it where that differs from what is written."""


@dataclass(frozen=True)
class Chapter:
    """What becomes one waveform."""

    stretches: tuple[Stretch, ...]
    title: str | None = None
    is_exact: bool = False
    """Whether pauses and times are the document's: then the engine's own silence around a passage is cut off."""

    @property
    def characters(self) -> int:
        return sum(len(stretch.text) for stretch in self.stretches)

    @property
    def is_timed(self) -> bool:
        """Whether it has times of its own, as subtitles do."""
        return any(stretch.begin_seconds is not None for stretch in self.stretches)


def chapter_of(text: str) -> Chapter:
    """A plain text as it is."""
    return Chapter((Stretch(text),))


def joined(chapters: tuple[Chapter, ...]) -> Chapter:
    """Several chapters in one."""
    if len(chapters) == 1:
        return chapters[0]
    stretches = tuple(stretch for chapter in chapters for stretch in chapter.stretches)
    return Chapter(stretches, is_exact=any(chapter.is_exact for chapter in chapters))

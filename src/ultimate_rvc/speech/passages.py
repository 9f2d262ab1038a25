"""Text in passages that an engine reads in one breath, and how long it pauses after each."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST_PASSAGE = 300  # characters: engines grow slow and unsteady with longer ones
SENTENCE_PAUSE, PARAGRAPH_PAUSE, CLAUSE_PAUSE = 0.3, 0.7, 0.1  # seconds
MOST_TEXT = 2_000_000  # characters: about 30 hours

# After Latin punctuation a sentence ends where space follows; after Chinese and Japanese it ends at once.
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])[」』”]*")  # noqa: RUF001
CLAUSE_END = re.compile(r"(?<=[,;:—])\s+|(?<=[，、；：])")  # noqa: RUF001
PARAGRAPH = re.compile(r"\s*\n\s*\n\s*")
URL = re.compile(r"https?://(?:www\.)?([^\s/?#]+)\S*")
# Words that a period does not end.
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No)|\b[A-Z])\.$")


@dataclass(frozen=True)
class Passage:
    """Something to read, and the silence after it in seconds."""

    text: str
    pause_seconds: float


def passages(text: str) -> list[Passage]:
    """``text`` in passages of at most :data:`LONGEST_PASSAGE` characters; empty where there is nothing to read.

    A link is read as its host. Pictographs and control characters are left out.
    """
    found: list[Passage] = []
    for paragraph in PARAGRAPH.split(_readable(text)):
        sentences = [part for sentence in _sentences(paragraph) for part in _short(sentence)]
        for number, (part, pause) in enumerate(sentences):
            is_last = number == len(sentences) - 1
            found.append(Passage(part, PARAGRAPH_PAUSE if is_last else pause))
    return found


def _readable(text: str) -> str:
    """Unicode in its composed form, without what nobody can pronounce."""
    text = URL.sub(r"\1", unicodedata.normalize("NFC", text))
    kept = (
        character
        for character in text
        # So: emoji and other symbols; C: control, format, private, unassigned; Mn is kept for accents.
        if character in "\n\t " or not unicodedata.category(character).startswith(("C", "So"))
    )
    return "".join(kept)


def _sentences(paragraph: str) -> list[str]:
    parts = [" ".join(part.split()) for part in SENTENCE_END.split(paragraph)]
    joined: list[str] = []
    for part in filter(None, parts):
        if joined and ABBREVIATION.search(joined[-1]):
            joined[-1] += f" {part}"
        else:
            joined.append(part)
    return [part for part in joined if any(character.isalnum() for character in part)]


def _short(sentence: str) -> list[tuple[str, float]]:
    """A sentence with the pause after it, cut at clauses and then at words where it is too long."""
    if len(sentence) <= LONGEST_PASSAGE:
        return [(sentence, SENTENCE_PAUSE)]
    pieces: list[str] = []
    for clause in filter(None, CLAUSE_END.split(sentence)):
        for piece in _cut(clause):
            if pieces and len(pieces[-1]) + len(piece) < LONGEST_PASSAGE:
                pieces[-1] += f" {piece}"
            else:
                pieces.append(piece)
    return [(piece, CLAUSE_PAUSE) for piece in pieces[:-1]] + [(pieces[-1], SENTENCE_PAUSE)]


def _cut(clause: str) -> list[str]:
    """At spaces, else anywhere: Chinese has none."""
    pieces = []
    while len(clause) > LONGEST_PASSAGE:
        end = clause.rfind(" ", 1, LONGEST_PASSAGE)
        end = end if end > 0 else LONGEST_PASSAGE
        pieces.append(clause[:end])
        clause = clause[end:].lstrip()
    return [*pieces, clause] if clause else pieces

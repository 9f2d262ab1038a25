"""Markdown as it is read aloud: its marks are not said, and headings of the first level begin chapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ultimate_rvc.speech.script import Chapter, Stretch

if TYPE_CHECKING:
    from markdown_it.token import Token

SPOKEN_INLINE = frozenset({"text", "code_inline", "softbreak", "hardbreak"})


def chapters_of_markdown(text: str) -> tuple[Chapter, ...]:
    """CommonMark with tables; code blocks, HTML and pictures are left out, a link is its words.

    Headings, list items and table cells become sentences of their own, so that they are not read into the next one.
    """
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(_without_front_matter(text))
    found: list[tuple[str | None, list[str]]] = [(None, [])]
    for token, before in zip(tokens, [None, *tokens], strict=False):
        if token.type != "inline":
            continue
        words = _ended("".join(_words(token.children or ())))
        if not words:
            continue
        if before is not None and before.type == "heading_open" and before.tag == "h1":
            found.append((words.rstrip("."), []))
        found[-1][1].append(words)
    return tuple(
        Chapter((Stretch("\n\n".join(paragraphs)),), title) for title, paragraphs in found if paragraphs
    )


def _words(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in SPOKEN_INLINE:
            yield token.content or ("\n" if token.type.endswith("break") else "")


def _ended(words: str) -> str:
    """A sentence: what ends in a letter or digit gets a period."""
    words = words.strip()
    return words + "." if words and words[-1].isalnum() and words.isascii() else words


def _without_front_matter(text: str) -> str:
    """Site generators keep settings between two lines of dashes at the very beginning."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return text
    end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() in ("---", "...")), None)
    return text if end is None else "\n".join(lines[end + 1 :])

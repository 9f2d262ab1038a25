"""EPUB books as chapters of text: the parts in reading order, headings as titles, nothing executed or fetched."""

from __future__ import annotations

import posixpath
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.script import Chapter, Stretch

CONTAINER = "META-INF/container.xml"
MOST_PART_BYTES = 20_000_000  # of one file within the book, unpacked
LEAST_LETTERS = 200  # of a part that has no heading: less is a cover or a title page, read with the next one
BLOCKS = frozenset(
    {
        "p",
        "div",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "tr",
        "blockquote",
        "section",
        "article",
        "dt",
        "dd",
    }
)
HEADINGS = frozenset({"h1", "h2", "h3"})
SILENT = frozenset({"script", "style", "head", "nav", "rt", "rp", "svg", "math"})


def chapters_of_epub(path: Path) -> tuple[Chapter, ...]:
    """The parts of a book that hold text, in reading order.

    Raises
    ------
    SpeechError
        It is no EPUB, is damaged or encrypted.
    """
    try:
        with zipfile.ZipFile(path) as book:
            return _chapters(book)
    except (
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        ElementTree.ParseError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise SpeechError(f"{path} is no EPUB, or is damaged ({error}): export it again.") from error
    except RuntimeError as error:  # zipfile's word for a part under a password
        raise SpeechError(
            f"{path} is encrypted: only books without copy protection can be read aloud."
        ) from error


def _chapters(book: zipfile.ZipFile) -> tuple[Chapter, ...]:
    if "META-INF/encryption.xml" in book.namelist() and "META-INF/rights.xml" in book.namelist():
        raise RuntimeError("rights management")
    chapters: list[Chapter] = []
    before = ""
    for name in _reading_order(book):
        page = _Page()
        page.feed(_part(book, name).decode("utf-8", errors="replace"))
        page.close()
        text = "\n\n".join(page.paragraphs)
        if not text:
            continue
        if page.title is None and sum(map(str.isalnum, text)) < LEAST_LETTERS:
            before += f"{text}\n\n"
            continue
        chapters.append(Chapter((Stretch(before + text),), page.title))
        before = ""
    if before:
        chapters.append(Chapter((Stretch(before),)))
    return tuple(chapters)


def _reading_order(book: zipfile.ZipFile) -> list[str]:
    """Names of the parts in the book's spine."""
    container = ElementTree.fromstring(_part(book, CONTAINER))
    root = next((each.get("full-path") for each in container.iter() if each.tag.endswith("}rootfile")), None)
    if root is None:
        raise ValueError("its container names no package")
    package = ElementTree.fromstring(_part(book, root))
    parts = {each.get("id"): each.get("href", "") for each in package.iter() if each.tag.endswith("}item")}
    spine = [each.get("idref") for each in package.iter() if each.tag.endswith("}itemref")]
    folder = posixpath.dirname(root)
    return [posixpath.normpath(posixpath.join(folder, unquote(parts[each]))) for each in spine]


def _part(book: zipfile.ZipFile, name: str) -> bytes:
    """A file of the book; one that unpacks to more than it says is cut off, not kept in memory."""
    with book.open(name) as part:
        content = part.read(MOST_PART_BYTES + 1)
    if len(content) > MOST_PART_BYTES:
        raise ValueError(f"its part {name} is larger than {MOST_PART_BYTES // 1_000_000} MB")
    return content


class _Page(HTMLParser):
    """Collects paragraphs, and the first heading."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[str] = []
        self.title: str | None = None
        self._words: list[str] = []
        self._silent = 0
        self._heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SILENT:
            self._silent += 1
        elif tag in BLOCKS:
            self._finish()
            self._heading = tag in HEADINGS
        elif tag == "br":
            self._words.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS or tag == "br":
            self._words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in SILENT:
            self._silent = max(self._silent - 1, 0)
        elif tag in BLOCKS:
            self._finish()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._words.append(data)

    def close(self) -> None:
        super().close()
        self._finish()

    def _finish(self) -> None:
        words = re.sub(r"\s+", " ", "".join(self._words)).strip()
        self._words = []
        if words and self._heading:
            self.title = self.title or words
            words += "." if words[-1].isalnum() and words.isascii() else ""
        if words:
            self.paragraphs.append(words)
        self._heading = False

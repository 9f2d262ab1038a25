"""Documents as chapters to read aloud: which format a text or file is in, and how it is taken apart."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from ultimate_rvc.choices import TextFormat
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.epub import chapters_of_epub
from ultimate_rvc.speech.markdown import chapters_of_markdown
from ultimate_rvc.speech.script import Chapter, chapter_of
from ultimate_rvc.speech.ssml import chapter_of_ssml
from ultimate_rvc.speech.subtitles import TIMES, chapter_of_subtitles

SUFFIXES = {
    ".txt": TextFormat.PLAIN,
    ".text": TextFormat.PLAIN,
    ".md": TextFormat.MARKDOWN,
    ".markdown": TextFormat.MARKDOWN,
    ".srt": TextFormat.SUBTITLES,
    ".vtt": TextFormat.SUBTITLES,
    ".ssml": TextFormat.SSML,
    ".epub": TextFormat.EPUB,
}
MOST_BYTES = 10_000_000  # of a text
MOST_BOOK_BYTES = 200_000_000  # pictures included
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # no text holds these; escape (1b) stands in some logs


def chapters_of(text: str, text_format: TextFormat = TextFormat.AUTO) -> tuple[Chapter, ...]:
    """A text taken apart.

    Raises
    ------
    SpeechError
        It is not in that format; the sentence names the line where that can be known.
    """
    match _found_format(text) if text_format is TextFormat.AUTO else text_format:
        case TextFormat.MARKDOWN:
            return chapters_of_markdown(text)
        case TextFormat.SUBTITLES:
            return (chapter_of_subtitles(text),)
        case TextFormat.SSML:
            return (chapter_of_ssml(text),)
        case TextFormat.EPUB:
            raise SpeechError("A book in EPUB is a file, not a text: name it as the document.", "text_format")
        case _:
            return (chapter_of(text),)


def chapters_of_file(path: Path, text_format: TextFormat = TextFormat.AUTO) -> tuple[Chapter, ...]:
    """A file taken apart, in the format of its suffix unless another is asked for.

    Raises
    ------
    SpeechError
        It is not there, too large, or not in that format.
    """
    if text_format is TextFormat.AUTO:
        text_format = format_of_document(path)
    try:
        size = path.stat().st_size
        most = MOST_BOOK_BYTES if text_format is TextFormat.EPUB else MOST_BYTES
        if size > most:
            raise SpeechError(f"{path} is larger than {most // 1_000_000} MB: cut it into parts.", "document")
        if text_format is TextFormat.EPUB:
            return chapters_of_epub(path)
        text = _text(path, path.read_bytes())
    except OSError as error:
        raise SpeechError(f"{path} cannot be read: {error.strerror or error}.", "document") from error
    try:
        return chapters_of(text, text_format)
    except SpeechError as error:
        raise SpeechError(f"{path}: {error}", "document") from error


def format_of_document(path: Path) -> TextFormat:
    """
    Raises
    ------
    SpeechError
        Nothing is known to read files of that suffix.
    """
    if (known := SUFFIXES.get(path.suffix.lower())) is None:
        raise SpeechError(
            f"{path} cannot be read aloud: it should end in one of {', '.join(SUFFIXES)}; export it as one of them.",
            "document",
        )
    return known


def _text(path: Path, content: bytes) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise SpeechError(f"{path} is not text in UTF-8: save it as that.", "document") from error
    if CONTROL.search(text):
        raise SpeechError(f"{path} holds bytes that no text has: it is a file of another kind.", "document")
    return text


def _found_format(text: str) -> TextFormat:
    """By how a text begins; only subtitles and SSML begin in a way that no other text does."""
    begin = text[:2000].lstrip("\ufeff \t\r\n")
    if re.match(r"(?:<\?xml[^>]*>\s*)?<speak[\s>]", begin):
        return TextFormat.SSML
    first_lines = begin.splitlines()[:2]
    if re.match(r"WEBVTT(?:\s|$)", begin) or any(TIMES.match(line) for line in first_lines):
        return TextFormat.SUBTITLES
    return TextFormat.PLAIN

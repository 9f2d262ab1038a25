"""Datasets of LLASA on disk: a JSON object a line, ``{"id": ..., "text": ..., "code": [...]}``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.errors import SpeechError

MOST_BYTES = 10_000_000  # of a text file: a million lines of ten letters


LINE_START = b'{"id":'  # of what is written here


@dataclass(frozen=True)
class Line:
    """A recording: what is said in it, and its codes. ``id`` is empty in datasets of other programs."""

    id: str
    text: str
    code: tuple[int, ...]

    def as_json(self) -> str:
        written = {"id": self.id, "text": self.text, "code": list(self.code)}
        return json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_lines(path: Path, *, may_be_cut: bool = False) -> list[Line]:
    """The lines of a dataset; with ``may_be_cut`` up to the first that is not whole, as a killed run leaves one.

    Raises
    ------
    SpeechError
        The file cannot be read, or a line is none of a dataset; its number is named.
    """
    found: list[Line] = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = _line(text)
                if line is None and may_be_cut:
                    return found
                if line is None:
                    raise SpeechError(
                        f'{path} is no dataset of LLASA: line {number} is not {{"text": ..., "code": [...]}}.'
                    )
                found.append(line)
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text in UTF-8'}."
        ) from error
    return found


def _line(text: str) -> Line | None:
    try:
        read = json.loads(text)
    except ValueError:
        return None
    if (
        not isinstance(read, dict)
        or not isinstance(read.get("text"), str)
        or not isinstance(read.get("code"), list)
    ):
        return None
    codes = read["code"]
    if not read["text"].strip() or not codes or not all(type(code) is int and code >= 0 for code in codes):
        return None
    return Line(str(read.get("id", "")), read["text"], tuple(codes))


def read_transcript(path: Path) -> dict[str, str]:
    """Texts by the ids of their recordings, from lines ``id:text``.

    Raises
    ------
    SpeechError
        The file cannot be read; a line has no id or no text, or an id comes twice: its number is named.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpeechError(f"{path} is larger than {MOST_BYTES // 1_000_000} MB: cut it into parts.")
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SpeechError(f"{path} is no text in UTF-8: save it as that.") from error
    except OSError as error:
        raise SpeechError(f"{path} cannot be read: {error.strerror}.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colon, text = (part.strip() for part in line.partition(":"))
        if not (name and colon and text):
            raise SpeechError(
                f"Line {number} of {path} must be the id of a recording, a colon, and its words."
            )
        if name in found:
            raise SpeechError(
                f"Line {number} of {path} has the id {name!r} again: each recording has one line."
            )
        found[name] = text
    if not found:
        raise SpeechError(f"{path} is empty: write a line 'id:text' for each recording.")
    return found

"""``voice.json``: what a voice is, what its files were, and what its owner said about it.

It may come from strangers, so nothing in it is trusted: texts are cut and cleaned, settings are
checked, and no path is ever read from it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.stamps import forget_hash, remember_hash, remembered_hash
from ultimate_rvc.errors import SettingError, VoiceFileError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.voices.presets import VoicePreset, read_preset

VOICE_JSON = "voice.json"
VOICE_JSON_FORMAT = 1
MAX_RECORD_BYTES = 1 << 20
MAX_NOTE_LETTERS = 4000
MAX_TAG_LETTERS = 40
MAX_TAGS = 30
SHOWN_DIGITS = 12  # of a SHA-256
OWNERS_PARTS = ("note", "tags", "preset")  # what a person wrote; all else is computed from the files


@dataclass(frozen=True)
class VoiceRecord:
    """A ``voice.json`` after its checks."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Everything as it is stored."""
    note: str = ""
    tags: tuple[str, ...] = ()
    preset: VoicePreset = field(default_factory=VoicePreset)
    problems: tuple[str, ...] = ()
    """What in it cannot be used, one sentence each."""

    @property
    def feature_dim(self) -> int | None:
        """Width of the content features the voice works on, if recorded."""
        return whole(self.values.get("feature_dim"))

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file by its name, as they were when the record was written."""
        stored = self.values.get("files")
        if not isinstance(stored, dict):
            return {}
        return {name: facts for name, facts in stored.items() if isinstance(facts, dict)}

    def owners_parts(self) -> dict[str, Any]:
        """What its owner said, as plain values; what is empty is left out."""
        parts = {"note": self.note, "tags": list(self.tags), "preset": self.preset.to_json()}
        return {name: value for name, value in parts.items() if value}


def read_record(folder: Path) -> VoiceRecord:
    """The record of a voice's folder; an empty one where there is none or it cannot be read."""
    return read_record_file(folder / VOICE_JSON)


def read_record_file(path: Path) -> VoiceRecord:
    """The record in a file, whatever its name; empty, with a problem, when it cannot be read."""
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is not an object")
    except FileNotFoundError:
        return VoiceRecord()
    except (OSError, ValueError, RecursionError):
        return VoiceRecord(
            problems=(f"{path} is damaged and not used; `urvc voices refresh` writes it again.",)
        )
    preset, problems = read_preset(values.get("preset"))
    note, tags = values.get("note"), values.get("tags")
    return VoiceRecord(
        values,
        plain_text(note, MAX_NOTE_LETTERS) if isinstance(note, str) else "",
        _kept_tags(tags) if isinstance(tags, list) else (),
        preset,
        problems,
    )


def write_record(folder: Path, values: Mapping[str, Any]) -> None:
    """Replace the ``voice.json`` of a folder at once."""
    text = json.dumps(dict(values), ensure_ascii=False, indent=2) + "\n"
    with atomic_path(folder / VOICE_JSON) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def change_record(folder: Path, changes: Mapping[str, Any]) -> None:
    """Replace some values of a folder's record; ``None`` removes one. The library must be locked.

    Raises
    ------
    VoiceFileError
        There is a record that cannot be read: what it holds must not be lost by writing over it.
    """
    record = read_record(folder)
    if not record.values and (folder / VOICE_JSON).exists():
        raise VoiceFileError(record.problems[0])
    values = {"format": VOICE_JSON_FORMAT, "name": folder.name, **record.values, **changes}
    write_record(folder, {name: value for name, value in values.items() if value is not None})


def fingerprints(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files by name, computed from their bytes and noted beside them."""
    found = {}
    for path in sorted(paths):
        digest = file_hash(path)
        remember_hash(path, digest)
        found[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    return found


def forget_stamps(paths: Iterable[Path]) -> None:
    """Have the bytes of these files read again when their SHA-256 is next asked for."""
    for path in paths:
        forget_hash(path)


def find_changes(paths: Iterable[Path], record: VoiceRecord) -> tuple[str, ...]:
    """Which of a voice's files are no longer those of its record, one sentence each.

    A file that was only renamed has not changed. Nothing is told of voices without recorded files.
    """
    recorded = record.files
    if not recorded:
        return ()
    known = {facts.get("sha256") for facts in recorded.values()}
    changes = []
    for path in paths:
        try:
            digest = remembered_hash(path)
        except OSError as error:
            changes.append(f"{path} cannot be read: {error.strerror}.")
            continue
        if digest in known:
            continue
        before = recorded.get(path.name)
        what = "was not there when the voice came into the library"
        if before:
            sums = (digest[:SHOWN_DIGITS], str(before.get("sha256"))[:SHOWN_DIGITS])
            what = "has changed since it came into the library (SHA-256 {}..., was {}...)".format(*sums)
        changes.append(f"{path.name} {what}; if that was you, `urvc voices refresh` takes note of it.")
    return tuple(changes)


def checked_note(note: str) -> str:
    """A note as it is stored; ``SettingError`` when it is longer than 4000 letters."""
    if len(note) > MAX_NOTE_LETTERS:
        raise SettingError(f"The note has {len(note)} letters, but a note has at most {MAX_NOTE_LETTERS}.")
    return plain_text(note, MAX_NOTE_LETTERS)


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are stored: trimmed, each once whatever its case, in their order.

    Raises
    ------
    SettingError
        One is empty, longer than 40 letters or holds a comma or line break, or there are more than 30.
    """
    cleaned: dict[str, str] = {}
    for tag in tags:
        word = unicodedata.normalize("NFC", tag).strip()
        if not word or len(word) > MAX_TAG_LETTERS or "," in word or not word.isprintable():
            raise SettingError(
                f"{tag[:MAX_TAG_LETTERS]!r} is no tag: a tag has 1 to {MAX_TAG_LETTERS} letters and no comma."
            )
        cleaned.setdefault(word.casefold(), word)
    if len(cleaned) > MAX_TAGS:
        raise SettingError(f"There are {len(cleaned)} tags, but a voice has at most {MAX_TAGS}.")
    return tuple(cleaned.values())


def plain_text(text: str, limit: int) -> str:
    """A text without control characters other than line breaks, at most ``limit`` letters long."""
    kept = "".join(letter for letter in text[:limit] if letter.isprintable() or letter == "\n")
    return unicodedata.normalize("NFC", kept).strip()


def whole(value: object) -> int | None:
    """A number of a record, or ``None`` for anything else that may stand there."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _kept_tags(stored: list[object]) -> tuple[str, ...]:
    kept: list[str] = []
    for tag in stored[:MAX_TAGS]:
        try:
            kept += checked_tags([tag]) if isinstance(tag, str) else ()
        except SettingError:
            continue  # a stranger's tag that is none of ours
    return checked_tags(kept)

"""Deleted voices: kept in the library's trash until it is emptied, and brought back whole.

Each deletion is a folder ``.trash/<id>`` with ``trash.json`` and, below ``content``, what was deleted,
laid out as it lay in the library. Moving is renaming, so nothing is copied and nothing is half there.
Of a symbolic link only the link is moved and deleted, never what it points to.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.stamps import forget_hash
from ultimate_rvc.errors import VoiceNotFoundError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.finding import library_voice
from ultimate_rvc.voices.locking import changing, files_in, move

TRASH_FOLDER = ".trash"
ENTRY_JSON = "trash.json"
CONTENT_FOLDER = "content"
VOICE, INDEX = "voice", "index"


@dataclass(frozen=True)
class TrashEntry:
    """One deletion that can be undone."""

    id: str
    name: str
    """Of the voice that was deleted, or whose index was."""
    kind: str
    """``voice`` or ``index``."""
    deleted: datetime
    bytes: int
    """Of files; what a symbolic link points to is not counted, as it stays."""
    content: Path
    """The folder that holds what was deleted."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**vars(self), "deleted": self.deleted.isoformat(), "content": str(self.content)}


def delete_voice(name: str) -> TrashEntry:
    """Move a voice of the library to its trash: model, index, ``voice.json`` and picture.

    Raises
    ------
    VoiceNotFoundError
        There is no such voice in the library.
    VoiceFileError
        The disk refuses.
    """
    library = voice_models_dir()
    with changing(library, f"Deleting {name!r}"):
        ref = library_voice(name)
        if ref.folder is not None and "/" not in ref.name:
            paths = [ref.folder]
        else:  # the model first: without it, what is left is no voice
            paths = [path for path in (ref.model_path, ref.index_path) if path is not None]
        return throw_away(library, ref.name, VOICE, paths)


def list_trash() -> list[TrashEntry]:
    """What can be restored, the latest deletion first."""
    trash = voice_models_dir() / TRASH_FOLDER
    if not trash.is_dir():
        return []
    entries = [entry for folder in trash.iterdir() if (entry := _read_entry(folder)) is not None]
    return sorted(entries, key=lambda entry: (entry.deleted, entry.id), reverse=True)


def empty_trash(ids: Iterable[str] | None = None, *, older_than_days: float = 0.0) -> list[TrashEntry]:
    """Delete for good what is in the trash; returns what is gone.

    Parameters
    ----------
    ids : strings, optional
        Only these entries.
    older_than_days : float
        Only what was deleted at least so many days ago.

    Raises
    ------
    VoiceNotFoundError
        The trash has no entry with one of the ids.
    VoiceFileError
        The disk refuses.
    """
    library = voice_models_dir()
    with changing(library, "Emptying the trash"):
        entries = list_trash()
        if ids is not None:
            wanted = set(ids)
            if unknown := wanted - {entry.id for entry in entries}:
                raise VoiceNotFoundError(f"The trash has no entry {sorted(unknown)[0]!r}; list it first.")
            entries = [entry for entry in entries if entry.id in wanted]
        latest = datetime.now(UTC) - timedelta(days=older_than_days)
        entries = [entry for entry in entries if entry.deleted <= latest]
        for entry in entries:
            shutil.rmtree(entry.content.parent)
        if ids is None and older_than_days == 0:
            _remove_leftovers(library / TRASH_FOLDER)
    return entries


def _remove_leftovers(trash: Path) -> None:
    """Remove what killed deletions left, unless there is something in it that nobody was shown."""
    for folder in trash.glob("*/"):
        if all(path.name == ENTRY_JSON for path in files_in(folder)):
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it is not there, or not empty
        trash.rmdir()


def throw_away(library: Path, name: str, kind: str, paths: Sequence[Path]) -> TrashEntry:
    """Move files or folders of a locked library to its trash."""
    now = datetime.now(UTC)
    entry_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    folder = library / TRASH_FOLDER / entry_id
    content = folder / CONTENT_FOLDER
    content.mkdir(parents=True)
    facts = {"name": name, "kind": kind, "deleted": now.isoformat()}
    (folder / ENTRY_JSON).write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in paths:
        target = content / path.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        forget_hash(path)
        move(path, target)
    return TrashEntry(entry_id, name, kind, now, _bytes_in(content), content)


def _read_entry(folder: Path) -> TrashEntry | None:
    """The entry in a folder of the trash; ``None`` for one that holds nothing or cannot be read."""
    content = folder / CONTENT_FOLDER
    try:
        facts = json.loads((folder / ENTRY_JSON).read_text(encoding="utf-8"))
        name, kind = str(facts["name"]), str(facts["kind"])
        deleted = datetime.fromisoformat(facts["deleted"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if kind not in (VOICE, INDEX) or deleted.tzinfo is None or not files_in(content):
        return None
    return TrashEntry(folder.name, name, kind, deleted, _bytes_in(content), content)


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in files_in(folder))

"""Bringing back what was deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.files import is_index_file
from ultimate_rvc.voices.finding import VoiceRef, library_voice, list_voices
from ultimate_rvc.voices.indexes import attach_index
from ultimate_rvc.voices.locking import changing, files_in, move, refuse_taken_name
from ultimate_rvc.voices.names import checked_name, same_form
from ultimate_rvc.voices.renaming import settle_name
from ultimate_rvc.voices.trash import INDEX, VOICE, TrashEntry, list_trash


def restore_voice(name_or_id: str, name: str | None = None) -> VoiceRef:
    """Bring a deleted voice back, or a voice's deleted index.

    Parameters
    ----------
    name_or_id : str
        The voice's name, of which the latest deletion is undone, or an id that :func:`list_trash` gives.
    name : str, optional
        Another name for a voice, when its own is taken by now.

    Raises
    ------
    VoiceNotFoundError
        The trash holds no such voice.
    VoiceFileError
        The name is taken, or the disk refuses.
    SettingError
        The name cannot be a folder's name, or one was given for an index.
    """
    library = voice_models_dir()
    entry = _find_entry(name_or_id)
    if entry.kind == INDEX:
        return _restore_index(entry, name)
    with changing(library, f"Restoring {entry.name!r}"):
        restored = _restore_under(checked_name(name), entry, library) if name else _put_back(entry, library)
        shutil.rmtree(entry.content.parent, ignore_errors=True)
    return library_voice(restored)


def _find_entry(name_or_id: str) -> TrashEntry:
    entries = list_trash()
    wanted = same_form(name_or_id)
    for is_it in _ways_to_name(wanted):
        for entry in entries:
            if is_it(entry):
                return entry
    names = sorted({entry.name for entry in entries})
    holds = f"it holds {', '.join(names[:5])}" if names else "it is empty"
    raise VoiceNotFoundError(f"The trash has no voice {name_or_id[:80]!r}: {holds}.")


def _ways_to_name(wanted: str) -> Sequence[Callable[[TrashEntry], bool]]:
    """By id; by name, a voice before an index."""
    return (
        lambda entry: entry.id == wanted,
        lambda entry: entry.kind == VOICE and entry.name == wanted,
        lambda entry: entry.name == wanted,
    )


def _restore_index(entry: TrashEntry, name: str | None) -> VoiceRef:
    if name is not None:
        raise SettingError("An index goes back to the voice it was taken from; leave name out.")
    (index, *_) = sorted(path for path in entry.content.rglob("*") if is_index_file(path))
    if entry.name not in [ref.name for ref in list_voices()]:
        raise VoiceNotFoundError(
            f"There is no voice {entry.name!r} any more; give the index {index} to another with "
            "`urvc voices attach-index`."
        )
    restored = attach_index(entry.name, index)
    shutil.rmtree(entry.content.parent, ignore_errors=True)
    return restored


def _put_back(entry: TrashEntry, library: Path) -> str:
    """Move what was deleted to where it lay."""
    if "/" not in entry.name:
        refuse_taken_name(entry.name, library)
    moves = [(path, library / path.relative_to(entry.content)) for path in _movable(entry, library)]
    for _, target in moves:
        if os.path.lexists(target):
            raise VoiceFileError(f"There is a {target} already; restore under another name.")
    for path, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        move(path, target)
    return entry.name


def _movable(entry: TrashEntry, library: Path) -> list[Path]:
    """Whole folders where the library has none of that name, else the files in them."""
    units: list[Path] = []
    for top in sorted(entry.content.iterdir()):
        if top.is_dir() and not top.is_symlink() and (library / top.name).is_dir():
            units += files_in(top)
        else:
            units.append(top)
    return units


def _restore_under(name: str, entry: TrashEntry, library: Path) -> str:
    """Bring a voice back as a folder with another name."""
    refuse_taken_name(name, library)
    final = library / name
    tops = sorted(entry.content.iterdir())
    if len(tops) == 1 and tops[0].is_dir():
        move(tops[0], final)
    else:
        final.mkdir()
        for top in tops:
            move(top, final / top.name)
    settle_name(final, name)
    return name

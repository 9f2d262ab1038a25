"""Giving a voice another name."""

from __future__ import annotations

import os
from pathlib import Path

from ultimate_rvc.assets.stamps import forget_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.files import is_model_file
from ultimate_rvc.voices.finding import VoiceRef, folder_ref, library_voice
from ultimate_rvc.voices.locking import NameTakenError, changing, refuse_taken_name
from ultimate_rvc.voices.names import checked_name, same_form
from ultimate_rvc.voices.record import change_record, read_record


def rename_voice(name: str, new_name: str) -> VoiceRef:
    """Call a voice of the library something else; its folder and files are renamed.

    A voice that shares a folder ``group`` with others stays there, as ``group/new_name``.

    Raises
    ------
    VoiceNotFoundError
        There is no such voice in the library.
    VoiceFileError
        The new name is taken, or the disk refuses.
    SettingError
        The new name cannot be a folder's name.
    """
    wanted = checked_name(new_name)
    library = voice_models_dir()
    with changing(library, f"Renaming {name!r}"):
        ref = library_voice(name)
        if ref.folder is None:
            refuse_taken_name(wanted, library)
            _refuse_namesake(ref, wanted)
            _rename_files(ref, wanted)
        elif "/" in ref.name:
            _refuse_namesake(ref, wanted)
            _rename_files(ref, wanted)
            wanted = f"{ref.folder.name}/{wanted}"
        else:
            refuse_taken_name(wanted, library, ignore=ref.folder.name)
            final = library / wanted
            ref.folder.rename(final)  # from here on the voice has its new name, whatever its files are called
            settle_name(final, wanted)
    return library_voice(wanted)


def settle_name(folder: Path, name: str) -> None:
    """Call the files of a voice's folder what the folder is called, and note it in ``voice.json``."""
    ref = folder_ref(folder)
    renamed = _rename_files(ref, name)
    record = read_record(folder)
    if record.values:
        files = {renamed.get(old, old): facts for old, facts in record.files.items()}
        change_record(folder, {"name": name, "files": files or None})


def _refuse_namesake(ref: VoiceRef, name: str) -> None:
    """Raise where another voice's file beside this one has the name already, whatever its suffix."""
    for path in ref.model_path.parent.iterdir():
        if path == ref.model_path or not is_model_file(path):
            continue
        if same_form(path.stem).casefold() == name.casefold():
            raise NameTakenError(f"The name {path.stem!r} is taken by {path}: choose another.")


def _rename_files(ref: VoiceRef, name: str) -> dict[str, str]:
    """Rename model and index; new names by old ones."""
    renamed = {}
    for path in (ref.model_path, ref.index_path):
        if path is None:
            continue
        target = path.with_name(f"{name}{path.suffix}")
        is_other = not (target.exists() and target.samefile(path))  # without case, it may be the same
        if target.name == path.name or (os.path.lexists(target) and is_other):
            continue
        forget_hash(path)
        path.rename(target)
        renamed[path.name] = target.name
    return renamed

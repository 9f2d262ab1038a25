"""Giving a voice of the library an index, and taking it away."""

from __future__ import annotations

from pathlib import Path

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.files import is_index_file
from ultimate_rvc.voices.finding import VoiceRef, files_below, library_voice, own_folder
from ultimate_rvc.voices.importing import check_index, copy_index
from ultimate_rvc.voices.locking import changing, unfinished_folder
from ultimate_rvc.voices.record import change_record, fingerprints, read_record
from ultimate_rvc.voices.trash import INDEX, TrashEntry, throw_away


def attach_index(name: str, index: Path | str) -> VoiceRef:
    """Give a voice an index; the one it had goes to the trash.

    The ``.index`` file is copied.

    Raises
    ------
    VoiceFileError, VoiceNotFoundError
        The index is damaged or of another width than the voice's features, or the library has no such voice,
        or none with a folder of its own.
    """
    source, library = Path(index).expanduser(), voice_models_dir()
    with changing(library, f"Giving {name!r} an index"), unfinished_folder(library) as workplace:
        ref = library_voice(name)
        folder = own_folder(ref)
        check_index(source, ref.model_path.name, _feature_dim(ref, folder))
        copy = workplace / f"{folder.name}.index"
        copy_index(source, copy)
        _throw_indexes_away(library, ref.name, folder)
        final = folder / copy.name
        copy.rename(final)
        _record_index(folder, final)
    return library_voice(name)


def detach_index(name: str) -> TrashEntry:
    """Take a voice's index away, into the trash; ``restore_voice`` brings it back.

    Raises
    ------
    VoiceFileError, VoiceNotFoundError
        The voice has no index, or no folder of its own, or is not in the library.
    """
    library = voice_models_dir()
    with changing(library, f"Taking the index of {name!r} away"):
        ref = library_voice(name)
        folder = own_folder(ref)
        entry = _throw_indexes_away(library, ref.name, folder)
        if entry is None:
            raise VoiceFileError(f"{ref.name!r} has no index.")
        _record_index(folder, None)
    return entry


def _feature_dim(ref: VoiceRef, folder: Path) -> int:
    """Width of a voice's features: as recorded, or read from the model."""
    if (recorded := read_record(folder).feature_dim) is not None:
        return recorded
    from ultimate_rvc.rvc.voice_file.read import read_voice_metadata

    return read_voice_metadata(ref.model_path).config.phone_dim


def _throw_indexes_away(library: Path, name: str, folder: Path) -> TrashEntry | None:
    indexes = [path for path in files_below(folder) if is_index_file(path)]
    return throw_away(library, name, INDEX, indexes) if indexes else None


def _record_index(folder: Path, index: Path | None) -> None:
    """Note another index in ``voice.json``; what is known of the other files stays as it is."""
    record = read_record(folder)
    if not record.values:
        return
    kept = {name: facts for name, facts in record.files.items() if not is_index_file(Path(name))}
    change_record(folder, {"files": {**kept, **(fingerprints([index]) if index else {})}})

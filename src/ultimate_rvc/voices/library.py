"""The library of voices: find one by name, list, inspect, import.

A voice is a folder ``<name>`` below ``voice_models_dir()`` with ``<name>.pth`` (or ``.safetensors``), an
index ``<name>.index`` if it has one, and ``voice.json``, which tells what the voice is without opening
it. Folders of other tools, and files that lie in the library without a folder, are voices too.
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.paths import packaged_assets_dir, voice_models_dir
from ultimate_rvc.voices.files import (
    INDEX_SUFFIX,
    MODEL_SUFFIXES,
    choose_model,
    find_models,
    pair_index,
    read_index_header,
)
from ultimate_rvc.voices.names import checked_name, same_form

if TYPE_CHECKING:
    from ultimate_rvc.rvc.checkpoint import VoiceFile

VOICE_JSON = "voice.json"
VOICE_JSON_FORMAT = 1
UNFINISHED_PREFIX = ".importing-"
UNPACKED_FOLDER = "archive"
LOCK_NAME = ".import.lock"
NEAREST_NAMES = 3  # shown when a name is not found
SHOWN_LETTERS = 80


@dataclass(frozen=True)
class VoiceRef:
    """Where a voice lies."""

    name: str
    model_path: Path
    index_path: Path | None
    folder: Path | None
    """Its folder of the library; ``None`` for a file anywhere else."""
    warnings: tuple[str, ...] = ()
    """What was doubtful about finding or importing it, one sentence each."""


# --- finding -----------------------------------------------------------------------------------


def find_voice(name_or_path: str) -> VoiceRef:
    """The voice of the library with this name, or the voice in this file or folder.

    Parameters
    ----------
    name_or_path : str
        A name as :func:`list_voices` or :func:`packaged_voices` gives it, or a path to a ``.pth`` or
        ``.safetensors`` file or to a folder with one.

    Raises
    ------
    VoiceNotFoundError
        There is no such voice; the sentence names the nearest ones.
    VoiceFileError
        The folder holds several voices, or none.
    """
    for ref in [*_library(), *packaged_voices()]:  # a user's voice goes before ours of the same name
        if ref.name == same_form(name_or_path):
            return ref
    path = Path(name_or_path).expanduser()
    try:
        if path.is_file():
            return _file_ref(path)
        if path.is_dir():
            return _folder_ref(path)
        if (folder := voice_models_dir() / name_or_path).is_dir() and checked_name(name_or_path):
            return _folder_ref(folder)  # not in the list: it holds no voice, and the error says so
    except (OSError, ValueError, SettingError):  # not even a possible path, so certainly no voice
        pass
    raise _not_found(name_or_path, path)


def _not_found(name: str, path: Path) -> VoiceNotFoundError:
    if len(path.parts) > 1 or path.suffix.lower() in MODEL_SUFFIXES:
        return VoiceNotFoundError(f"There is no voice file {name}.")
    library = voice_models_dir()
    names = [ref.name for ref in _library()]
    shown = repr(name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}...")
    if not names:
        return VoiceNotFoundError(
            f"There is no voice {shown}: the library {library} is empty; import one with "
            "`urvc voices import FILE`, or give the path of a voice file."
        )
    by_folded = {known.casefold(): known for known in names}
    nearest = difflib.get_close_matches(name.casefold(), by_folded, NEAREST_NAMES, cutoff=0.5)
    hint = " or ".join(repr(by_folded[folded]) for folded in nearest)
    advice = f"did you mean {hint}?" if hint else "`urvc voices list` shows them all."
    return VoiceNotFoundError(f"There is no voice {shown} in {library}; {advice}")


def list_voices() -> list[VoiceRef]:
    """All voices of the library, sorted by name without regard to case."""
    return sorted(_library(), key=lambda ref: (ref.name.casefold(), ref.name))


def packaged_voices() -> list[VoiceRef]:
    """The voices that ship with the package."""
    return list(_voices_in(packaged_assets_dir() / "voices"))


def _library() -> Iterator[VoiceRef]:
    return _voices_in(voice_models_dir())


def _voices_in(library: Path) -> Iterator[VoiceRef]:
    """Voices below a folder; where a folder in it holds several, each is named ``<folder>/<file>``."""
    if not library.is_dir():
        return
    entries = sorted(entry for entry in library.iterdir() if not entry.name.startswith("."))
    for model in find_models([entry for entry in entries if entry.is_file()]):
        yield _ref(same_form(model.stem), model, entries, None)
    for folder in (entry for entry in entries if entry.is_dir()):
        files = _files_below(folder)
        models = find_models(files)
        if len(models) == 1 or folder.name in [model.stem for model in models]:
            yield _ref(same_form(folder.name), choose_model(folder, files), files, folder)
        else:
            for model in models:
                yield _ref(same_form(f"{folder.name}/{model.stem}"), model, files, folder)


def _file_ref(path: Path) -> VoiceRef:
    if path.suffix.lower() not in MODEL_SUFFIXES:
        raise VoiceFileError(f"{path} is no voice file: those end in {' or '.join(MODEL_SUFFIXES)}.")
    return _ref(path.stem, path, list(path.absolute().parent.iterdir()), None)


def _folder_ref(folder: Path) -> VoiceRef:
    files = _files_below(folder)
    return _ref(folder.resolve().name, choose_model(folder, files), files, folder)


def _ref(name: str, model: Path, files: list[Path], folder: Path | None) -> VoiceRef:
    index, warnings = pair_index(model, files)
    return VoiceRef(name, model, index, folder, warnings)


def _files_below(folder: Path) -> list[Path]:
    """Files of a folder and of its folders: unpacked archives often have one layer more."""
    return [path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)) if path.is_file()]


# --- inspecting --------------------------------------------------------------------------------


def inspect_voice(ref: VoiceRef) -> dict[str, Any]:
    """All that the files of a voice tell, as plain values that JSON can hold.

    Raises
    ------
    VoiceFileError
        The model cannot be read as a voice.
    """
    from ultimate_rvc.rvc.checkpoint import read_voice_file

    described = describe_voice(read_voice_file(ref.model_path))
    header = read_index_header(ref.index_path) if ref.index_path else None
    warnings = [*described.pop("warnings"), *ref.warnings]
    return {
        "name": ref.name,
        "model_path": str(ref.model_path),
        "model_bytes": ref.model_path.stat().st_size,
        "model_sha256": file_hash(ref.model_path),
        "index_path": str(ref.index_path) if ref.index_path else None,
        "index_vectors": header.vectors if header else None,
        "index_dim": header.dim if header else None,
        **described,
        "warnings": warnings,
    }


def describe_voice(voice: VoiceFile) -> dict[str, Any]:
    """What a voice is, as plain values: the part of ``voice.json`` that comes from the model."""
    metadata = voice.metadata
    return {
        "written_by": str(metadata.dialect),
        "sample_rate": metadata.sample_rate,
        "version": str(metadata.version),
        "f0": metadata.has_f0,
        "vocoder": str(metadata.vocoder),
        "embedder": str(metadata.embedder),
        "embedder_recorded": metadata.embedder_recorded,
        "feature_dim": metadata.config.phone_dim,
        "speakers": len(metadata.speakers),
        "speaker_names": {str(speaker.id): speaker.name for speaker in metadata.speakers if speaker.name},
        "pitch_median_hz": metadata.f0_median_hz,
        "epoch": metadata.epoch,
        "step": metadata.step,
        "info": metadata.info,
        "model_name": metadata.model_name,
        "author": metadata.author,
        "creation_date": metadata.creation_date,
        "warnings": list(metadata.warnings),
    }


# --- importing ---------------------------------------------------------------------------------


def import_voice(path: Path | str, name: str | None = None, index: Path | str | None = None) -> VoiceRef:
    """Bring a voice into the library as a folder that describes itself.

    The model is read, checked layer by layer and written anew in half precision, so the library
    holds nothing but tensors and plain values whatever the file came with. The folder
    appears complete or not at all.

    Parameters
    ----------
    path : path
        A ``.pth`` or ``.safetensors`` file, a folder with one, or a ``.zip`` of any layout.
    name : str, optional
        Of the voice in the library; by default that of the model's file.
    index : path, optional
        An index file; by default the one that lies beside the model, if any fits.

    Returns
    -------
    VoiceRef
        The voice in the library; its warnings tell of doubtful choices.

    Raises
    ------
    VoiceFileError
        A file is damaged, unsafe or no voice; the index does not belong to the voice; the name is taken.
    SettingError
        The name cannot be a folder's name.
    """
    path = Path(path).expanduser()
    chosen_index = Path(index).expanduser() if index is not None else None
    chosen_name = checked_name(name) if name is not None else None
    library = voice_models_dir()
    try:
        with _import_lock(library), _unfinished_folder(library) as workplace:
            try:
                model, files = _gather(path, workplace)
                return _import_model(path, model, files, chosen_name, chosen_index, library, workplace)
            except VoiceFileError as error:
                # What was unpacked is named as it is in the archive.
                unpacked = f"{workplace / UNPACKED_FOLDER}{os.sep}"
                raise VoiceFileError(str(error).replace(unpacked, f"{path}: ")) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise VoiceFileError(f"{path} cannot be imported into {library}: {reason}.") from error


def _import_model(
    source: Path,
    model: Path,
    files: list[Path],
    chosen_name: str | None,
    chosen_index: Path | None,
    library: Path,
    workplace: Path,
) -> VoiceRef:
    from ultimate_rvc.rvc.checkpoint import read_voice_file

    name = chosen_name or _name_from_file(model)
    _refuse_taken_name(name, library)
    voice = read_voice_file(model)
    index, warnings = _checked_index(model, files, chosen_index, voice.metadata.config.phone_dim)
    folder = workplace / "voice"
    folder.mkdir()
    _write_model(folder / f"{name}{model.suffix.lower()}", voice, model)
    if index is not None:
        _copy(index, folder / f"{name}{INDEX_SUFFIX}")
    record = {
        "format": VOICE_JSON_FORMAT,
        "name": name,
        **describe_voice(voice),
        "files": {file.name: _fingerprint(file) for file in sorted(folder.iterdir())},
        "imported_from": {"file": source.name, "model": model.name, "sha256": file_hash(model)},
    }
    with atomic_path(folder / VOICE_JSON) as unfinished:
        unfinished.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    final = library / name
    folder.rename(final)
    ref = _folder_ref(final)
    return VoiceRef(name, ref.model_path, ref.index_path, final, (*voice.metadata.warnings, *warnings))


def _write_model(target: Path, voice: VoiceFile, model: Path) -> None:
    from ultimate_rvc.rvc.checkpoint import build_synthesizer, write_rvc_voice, write_safetensors_voice

    try:
        build_synthesizer(voice)
    except VoiceFileError as error:
        raise VoiceFileError(f"{model}: {error}") from error
    # Written under a short name: the long names that a voice may have leave no room for a passing suffix.
    short = target.with_name(f"model{target.suffix}")
    (write_safetensors_voice if target.suffix == ".safetensors" else write_rvc_voice)(short, voice)
    short.rename(target)


def _checked_index(
    model: Path, files: list[Path], chosen: Path | None, feature_dim: int
) -> tuple[Path | None, tuple[str, ...]]:
    """The index to import; one that was asked for must fit, one that was found is left out if it does not."""
    from ultimate_rvc.rvc.infer.optimization.index_file import check_index_file

    found, warnings = (chosen, ()) if chosen is not None else pair_index(model, files)
    if found is None:
        return None, warnings
    try:
        check_index_file(found)
        header = read_index_header(found)
        if header is not None and header.dim != feature_dim:
            raise VoiceFileError(
                f"The index {found} holds vectors of {header.dim} numbers, but {model.name} works with "
                f"{feature_dim}; it belongs to another voice."
            )
    except VoiceFileError as error:
        if chosen is not None:
            raise
        return None, (*warnings, f"{error} The voice was imported without it.")
    return found, warnings


def _gather(path: Path, workplace: Path) -> tuple[Path, list[Path]]:
    """The model to import and the files it lies among."""
    from ultimate_rvc.voices.archives import is_plain_archive, unpack_voice

    if path.is_dir():
        files = _files_below(path)
        return choose_model(path, files), files
    if not path.is_file():
        raise VoiceFileError(f"There is no file {path}.")
    if is_plain_archive(path):
        unpacked = workplace / UNPACKED_FOLDER
        unpacked.mkdir()
        files = unpack_voice(path, unpacked)
        return _only_model(path, files), files
    if path.suffix.lower() not in MODEL_SUFFIXES:
        kinds = ", ".join((*MODEL_SUFFIXES, ".zip"))
        damaged = "a damaged archive" if path.suffix.lower() == ".zip" else "no voice file"
        raise VoiceFileError(f"{path} is {damaged}; a voice is imported from {kinds}, or from a folder.")
    beside = list(path.absolute().parent.iterdir())
    return path, [path, *(file for file in beside if file != path.absolute())]


def _only_model(archive: Path, files: list[Path]) -> Path:
    models = find_models(files)
    if not models:
        raise VoiceFileError(f"{archive} holds no voice: there is no .pth or .safetensors file in it.")
    if len(models) > 1:
        names = ", ".join(model.name for model in models[:5])
        raise VoiceFileError(
            f"{archive} holds several voices ({names}); unpack it and import the one you mean."
        )
    return models[0]


def _name_from_file(model: Path) -> str:
    try:
        return checked_name(model.stem.strip())
    except SettingError as error:
        raise SettingError(f"{error} Choose another with --name.") from error


def _refuse_taken_name(name: str, library: Path) -> None:
    # Compared without case: on macOS and Windows, such folders would be the same.
    for entry in library.iterdir():
        if same_form(entry.name).casefold() == name.casefold():
            raise VoiceFileError(
                f"A voice named {entry.name!r} is in {library} already; choose another name with --name, or "
                "delete that one first."
            )


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}


def _copy(source: Path, target: Path) -> None:
    short = target.with_name(f"index{target.suffix}")
    with atomic_path(short) as unfinished:
        shutil.copyfile(source, unfinished)
    short.rename(target)


@contextmanager
def _import_lock(library: Path) -> Iterator[None]:
    """One import at a time: what is unfinished while the lock is held was left by a killed one."""
    from filelock import FileLock

    library.mkdir(parents=True, exist_ok=True)
    with FileLock(library / LOCK_NAME):
        for leftover in library.glob(f"{UNFINISHED_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def _unfinished_folder(library: Path) -> Iterator[Path]:
    folder = library / f"{UNFINISHED_PREFIX}{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

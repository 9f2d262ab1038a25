"""Bringing a voice into the library as a folder that describes itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import SettingError, VoiceFileError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.voice_file.onnx_graph import ONNX_SUFFIX
from ultimate_rvc.voices.files import (
    ANY_MODEL,
    INDEX_SUFFIX,
    MODEL_SUFFIXES,
    SAFETENSORS_SUFFIX,
    choose_model,
    find_models,
    in_users_words,
    pair_index,
    read_index_header,
)
from ultimate_rvc.voices.finding import VoiceRef, files_below, folder_ref
from ultimate_rvc.voices.locking import NameTakenError, library_lock, refuse_taken_name, unfinished_folder
from ultimate_rvc.voices.names import checked_name
from ultimate_rvc.voices.pictures import is_picture_name, write_picture
from ultimate_rvc.voices.record import (
    VOICE_JSON,
    VOICE_JSON_FORMAT,
    VoiceRecord,
    fingerprints,
    read_record_file,
    write_record,
)

if TYPE_CHECKING:
    from ultimate_rvc.rvc.voice_file.describe import VoiceFile
    from ultimate_rvc.rvc.voice_file.onnx_voice import OnnxVoice

UNPACKED_FOLDER = "archive"


@dataclass(frozen=True)
class _Material:
    """What is imported: the model, the files it lies among, and what its last owner said about it."""

    model: Path
    files: list[Path]
    record: VoiceRecord = field(default_factory=VoiceRecord)
    picture: Path | None = None
    labels: Mapping[Path, str] = field(default_factory=dict)
    """What the user knows the files of an archive as."""


def import_voice(
    path: Path | str,
    name: str | None = None,
    index: Path | str | None = None,
    *,
    source: Mapping[str, Any] | None = None,
) -> VoiceRef:
    """Bring a voice into the library as a folder that describes itself.

    The model is read, checked layer by layer and written again in half precision, or in 8 bits if it
    came in them, so the library holds nothing but tensors and plain values. A voice in ONNX is
    checked, run once and kept as it is. The folder appears complete or not at all. Note, tags,
    preset and picture come along from a folder or an archive that another library of this program
    made.

    Parameters
    ----------
    path : path
        A ``.pth``, ``.safetensors`` or ``.onnx`` file, a folder with one, or a ``.zip`` of any layout.
    name : str, optional
        By default that of the model's file.
    index : path, optional
        By default the one that lies beside the model, if any fits.
    source : mapping, optional
        Where the file came from, to be noted in ``voice.json``.

    Raises
    ------
    VoiceFileError
        A file is damaged, unsafe or no voice; the index does not belong to the voice; the name is taken.
    SettingError
        The name cannot be a folder's name.
    """
    if not str(path).strip():
        raise VoiceFileError("No file was named: give a voice's file, an archive or a folder.")
    path = Path(path).expanduser()
    chosen_index = Path(index).expanduser() if index is not None else None
    chosen_name = checked_name(name) if name is not None else None
    library = voice_models_dir()
    try:
        with library_lock(library), unfinished_folder(library) as workplace:
            material = _gather(path, workplace)
            try:
                ref = _import(path, material, chosen_name, chosen_index, library, workplace, source or {})
            except NameTakenError:
                raise
            except VoiceFileError as error:
                raise VoiceFileError(in_users_words(str(error), material.labels)) from error
            told = tuple(in_users_words(each, material.labels) for each in ref.warnings)
            return replace(ref, warnings=told)
    except OSError as error:
        reason = error.strerror or str(error)
        raise VoiceFileError(f"{path} cannot be imported into {library}: {reason}.") from error


def add_voice(
    voice: VoiceFile | OnnxVoice,
    name: str,
    *,
    suffix: str = MODEL_SUFFIXES[0],
    label: str | None = None,
    index: Path | None = None,
    values: Mapping[str, Any] | None = None,
    picture: Path | None = None,
    library: Path,
    workplace: Path,
) -> Path:
    """Write a voice as a new folder of a locked library; it appears complete or not at all.

    Parameters
    ----------
    voice : VoiceFile or OnnxVoice
        Checked here: a network is built of it, or run once.
    name, index : str, path
        Checked by the caller, and the name is free.
    suffix : str
        Of the model's file, and so its form.
    label : str, optional
        What the voice is called in errors.
    values : mapping, optional
        More for ``voice.json``.
    workplace : path
        An unfinished folder of the library.

    Raises
    ------
    VoiceFileError
        The voice's layers do not make a network.
    """
    folder = workplace / "voice"
    folder.mkdir()
    _write_model(folder / f"{name}{suffix}", voice, label or name)
    if index is not None:
        copy_index(index, folder / f"{name}{INDEX_SUFFIX}")
    files = fingerprints([path for path in folder.iterdir() if not path.name.startswith(".")])
    if picture is not None:
        write_picture(picture, folder)
    record = {"format": VOICE_JSON_FORMAT, "name": name, **voice.metadata.to_json(), "files": files}
    write_record(folder, {**record, **(values or {})})
    final = library / name
    folder.rename(final)
    return final


def check_index(index: Path, model_name: str, feature_dim: int) -> None:
    """Raise :class:`VoiceFileError` unless an index is sound and as wide as the voice's features."""
    from ultimate_rvc.rvc.infer.index_file import check_index_file

    check_index_file(index)
    header = read_index_header(index)
    if header is not None and header.dim != feature_dim:
        raise VoiceFileError(
            f"The index {index} holds vectors of {header.dim} numbers, but {model_name} works with "
            f"{feature_dim}; it belongs to another voice."
        )


def copy_index(source: Path, target: Path) -> None:
    """Copy an index; it has its name only once it is whole."""
    # Written under a short name: the long names that a voice may have leave no room for a passing suffix.
    short = target.with_name(f"index{target.suffix}.copy")
    with atomic_path(short) as unfinished:
        shutil.copyfile(source, unfinished)
    short.replace(target)


def _import(
    path: Path,
    material: _Material,
    chosen_name: str | None,
    chosen_index: Path | None,
    library: Path,
    workplace: Path,
    source: Mapping[str, Any],
) -> VoiceRef:
    model = material.model
    name = chosen_name or _name_from_file(model)
    refuse_taken_name(name, library)
    voice, suffix = _read_model(model)
    index, warnings = _checked_index(model, material.files, chosen_index, voice.metadata.config.phone_dim)
    picture, picture_warnings = _usable_picture(material.picture, workplace)
    record = material.record
    values = record.owners_parts()
    values["imported_from"] = {"file": path.name, "model": model.name, "sha256": file_hash(model), **source}
    final = add_voice(
        voice,
        name,
        suffix=suffix,
        label=str(model),
        index=index,
        values=values,
        picture=picture,
        library=library,
        workplace=workplace,
    )
    told = (*voice.metadata.warnings, *warnings, *picture_warnings, *record.problems)
    return replace(folder_ref(final), name=name, warnings=told)


def _read_model(model: Path) -> tuple[VoiceFile | OnnxVoice, str]:
    """A voice, and the suffix that its form has: people give files the wrong one."""
    from ultimate_rvc.rvc.voice_file.describe import Dialect
    from ultimate_rvc.rvc.voice_file.onnx_voice import is_onnx_file, read_onnx_voice
    from ultimate_rvc.rvc.voice_file.read import read_voice_file

    if is_onnx_file(model):
        return read_onnx_voice(model), ONNX_SUFFIX
    voice, suffix = read_voice_file(model), model.suffix.lower()
    if voice.metadata.dialect is Dialect.EIGHT_BITS:
        return voice, SAFETENSORS_SUFFIX
    return voice, suffix if suffix != ONNX_SUFFIX else MODEL_SUFFIXES[0]


def _write_model(target: Path, voice: VoiceFile | OnnxVoice, label: str) -> None:
    from ultimate_rvc.rvc.voice_file.describe import Dialect
    from ultimate_rvc.rvc.voice_file.network import build_synthesizer
    from ultimate_rvc.rvc.voice_file.onnx_synthesizer import OnnxSynthesizer
    from ultimate_rvc.rvc.voice_file.onnx_voice import OnnxVoice
    from ultimate_rvc.rvc.voice_file.write import (
        write_eight_bit_voice,
        write_rvc_voice,
        write_safetensors_voice,
    )

    # Written under a short name: the long names that a voice may have leave no room for a passing suffix.
    short = target.with_name(f"model{target.suffix}")
    if isinstance(voice, OnnxVoice):
        OnnxSynthesizer(voice)  # runs it once
        with atomic_path(short) as unfinished:
            unfinished.write_bytes(voice.content)
    else:
        try:
            build_synthesizer(voice)
        except VoiceFileError as error:
            raise VoiceFileError(f"{label}: {error}") from error
        if voice.metadata.dialect is Dialect.EIGHT_BITS:
            write_eight_bit_voice(short, voice)
        else:
            is_plain = target.suffix == SAFETENSORS_SUFFIX
            (write_safetensors_voice if is_plain else write_rvc_voice)(short, voice)
    short.rename(target)


def _checked_index(
    model: Path, files: Sequence[Path], chosen: Path | None, feature_dim: int
) -> tuple[Path | None, tuple[str, ...]]:
    """The index to import; one that was asked for must fit, one that was found is left out if it does not."""
    if chosen is not None:
        check_index(chosen, model.name, feature_dim)
        return chosen, ()
    found, warnings = pair_index(model, files, feature_dim)
    if found is None:
        return None, warnings
    try:
        check_index(found, model.name, feature_dim)
    except VoiceFileError as error:
        return None, (*warnings, f"{error} The voice was imported without it.")
    return found, warnings


def _usable_picture(picture: Path | None, workplace: Path) -> tuple[Path | None, tuple[str, ...]]:
    """A picture that came along, drawn again; one that cannot be used is left out and told."""
    if picture is None:
        return None, ()
    drawn = workplace / "drawn"
    drawn.mkdir()
    try:
        return write_picture(picture, drawn), ()
    except SettingError as error:
        return None, (f"The picture is left out: {error}",)


def _gather(path: Path, workplace: Path) -> _Material:
    """The model to import, the files it lies among, and what came along with it."""
    from ultimate_rvc.voices.archives import is_plain_archive, other_kind, unpack_voice

    if path.is_dir():
        files = files_below(path)
        return _with_companions(choose_model(path, files), files)
    if not path.is_file():
        raise VoiceFileError(f"There is no file {path}.")
    if is_plain_archive(path):
        unpacked = workplace / UNPACKED_FOLDER
        unpacked.mkdir()
        labels = {file: f"{path}: {entry}" for file, entry in unpack_voice(path, unpacked).items()}
        files = list(labels)
        return replace(_with_companions(_only_model(path, files), files), labels=labels)
    if path.suffix.lower() not in MODEL_SUFFIXES:
        raise VoiceFileError(f"{path} {other_kind(path)}.")
    beside = list(path.absolute().parent.iterdir())
    return _Material(path, [path, *(file for file in beside if file != path.absolute())])


def _with_companions(model: Path, files: list[Path]) -> _Material:
    """A voice with the ``voice.json`` and picture that lie among its files; several are nobody's."""
    records = [file for file in files if file.name == VOICE_JSON]
    pictures = [file for file in files if is_picture_name(file)]
    return _Material(
        model,
        files,
        read_record_file(records[0]) if len(records) == 1 else VoiceRecord(),
        pictures[0] if len(pictures) == 1 else None,
    )


def _only_model(archive: Path, files: list[Path]) -> Path:
    models = find_models(files)
    if not models:
        raise VoiceFileError(f"{archive} holds no voice: there is no {ANY_MODEL} file in it.")
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
        raise SettingError(f"{error} Choose another name for it in the library.") from error

"""Finding voices: by name in the library, in the package, in a file or folder anywhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ultimate_rvc.errors import SettingError, VoiceFileError, VoiceNotFoundError
from ultimate_rvc.paths import packaged_assets_dir, voice_models_dir
from ultimate_rvc.voices.files import MODEL_SUFFIXES, choose_model, find_models, pair_index
from ultimate_rvc.voices.names import checked_name, same_form
from ultimate_rvc.voices.presets import VoicePreset
from ultimate_rvc.voices.record import VoiceRecord, find_changes, read_record

NEAREST_NAMES = 3  # shown when a name is not found
SHOWN_LETTERS = 80
OLDEST = "starter"  # of the voices that ship


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
    preset: VoicePreset = field(default_factory=VoicePreset)
    """The settings its owner chose for it; ``preset.fill(given)`` puts them below what was asked for."""

    @property
    def own_folder(self) -> Path | None:
        """Its folder, unless it shares that with other voices."""
        return self.folder if "/" not in self.name else None

    @property
    def record(self) -> VoiceRecord:
        """Its ``voice.json``, read now."""
        return read_record(self.own_folder) if self.own_folder is not None else VoiceRecord()

    @property
    def files(self) -> list[Path]:
        """The model and the index, if there is one."""
        return [path for path in (self.model_path, self.index_path) if path is not None]


def find_voice(name_or_path: str) -> VoiceRef:
    """The voice of the library with this name, or the voice in this file or folder.

    A path leads to a ``.pth``, ``.safetensors`` or ``.onnx`` file or to a folder with one. The warnings tell which of
    the voice's files are no longer those that came into the library.

    Raises
    ------
    VoiceNotFoundError
        There is no such voice; the sentence names the nearest ones.
    VoiceFileError
        The folder holds several voices, or none.
    """
    if not name_or_path.strip():
        raise VoiceNotFoundError(
            "No voice was named: give a name of the library, or a voice's file or folder."
        )
    for ref in [*_library(), *packaged_voices()]:  # a user's voice goes before ours of the same name
        if ref.name == same_form(name_or_path):
            return _with_changes(ref)
    path = Path(name_or_path).expanduser()
    try:
        if path.is_file():
            return file_ref(path)
        if path.is_dir():
            return folder_ref(path)
        if (folder := voice_models_dir() / name_or_path).is_dir() and checked_name(name_or_path):
            return folder_ref(folder)  # not in the list: it holds no voice, and the error says so
    except (OSError, ValueError, SettingError):  # not even a possible path, so certainly no voice
        pass
    raise _not_found(name_or_path, path)


def library_voice(name: str) -> VoiceRef:
    """The voice of the user's library with this name.

    Raises
    ------
    VoiceNotFoundError
        There is none; the sentence names the nearest ones, or says that it ships with the package.
    """
    wanted = same_form(name)
    if ref := next((ref for ref in _library() if ref.name == wanted), None):
        return ref
    if any(ref.name == wanted for ref in packaged_voices()):
        raise VoiceNotFoundError(
            f"{name!r} ships with the package and stays as it is; import its file under another name."
        )
    raise _not_found(name, Path(name))


def own_folder(ref: VoiceRef) -> Path:
    """The folder that belongs to this voice alone, where its ``voice.json`` is.

    Raises
    ------
    VoiceFileError
        The voice is a loose file, or shares its folder with others.
    """
    if ref.own_folder is not None:
        return ref.own_folder
    raise VoiceFileError(
        f"{ref.model_path} has no folder of its own to keep that in: import it under another name first, "
        f'with `urvc voices import "{ref.model_path}"`.'
    )


def list_voices() -> list[VoiceRef]:
    """All voices of the library, sorted by name without regard to case."""
    return sorted(_library(), key=lambda ref: (ref.name.casefold(), ref.name))


def packaged_voices() -> list[VoiceRef]:
    """The voices that ship with the package; the oldest, kept for what people made with it, is the last."""
    return sorted(
        _voices_in(packaged_assets_dir() / "voices"), key=lambda ref: (ref.name == OLDEST, ref.name)
    )


def folder_ref(folder: Path) -> VoiceRef:
    """The one voice of a folder.

    Raises
    ------
    VoiceFileError
        It holds none, or several and none is named like the folder.
    """
    files = files_below(folder)
    return _ref(folder.resolve().name, choose_model(folder, files), files, folder)


def file_ref(path: Path) -> VoiceRef:
    """The voice in a file, with the index that lies beside it.

    Raises
    ------
    VoiceFileError
        Its name is not that of a voice file.
    """
    if path.suffix.lower() not in MODEL_SUFFIXES:
        from ultimate_rvc.voices.archives import is_plain_archive, other_kind

        if is_plain_archive(path):
            raise VoiceFileError(
                f"{path} is an archive: import it first with `urvc voices import`, then name the voice in it."
            )
        raise VoiceFileError(f"{path} {other_kind(path)}.")
    return _ref(path.stem, path, list(path.absolute().parent.iterdir()), None)


def files_below(folder: Path) -> list[Path]:
    """Files of a folder and of its folders: unpacked archives often have one layer more."""
    return [path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)) if path.is_file()]


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
        files = files_below(folder)
        models = find_models(files)
        if len(models) == 1 or folder.name in [model.stem for model in models]:
            yield _ref(same_form(folder.name), choose_model(folder, files), files, folder)
        else:
            for model in models:
                yield _ref(same_form(f"{folder.name}/{model.stem}"), model, files, folder)


def _ref(name: str, model: Path, files: list[Path], folder: Path | None) -> VoiceRef:
    record = read_record(folder) if folder is not None and "/" not in name else VoiceRecord()
    index, warnings = pair_index(model, files, record.feature_dim)
    return VoiceRef(name, model, index, folder, (*warnings, *record.problems), record.preset)


def _with_changes(ref: VoiceRef) -> VoiceRef:
    changes = find_changes(ref.files, ref.record)
    return replace(ref, warnings=(*ref.warnings, *changes))


def _not_found(name: str, path: Path) -> VoiceNotFoundError:
    if len(path.parts) > 1 or path.suffix.lower() in (*MODEL_SUFFIXES, ".zip"):
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

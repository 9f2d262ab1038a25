"""A voice as one zip that every RVC tool can take in."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.choices import EmbedderModel, Vocoder, VoicePrecision
from ultimate_rvc.errors import SettingError, VoiceFileError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.paths import output_dir
from ultimate_rvc.plain import to_plain
from ultimate_rvc.settings import listed
from ultimate_rvc.voices.files import INDEX_SUFFIX, MODEL_SUFFIXES, SAFETENSORS_SUFFIX
from ultimate_rvc.voices.finding import VoiceRef, find_voice
from ultimate_rvc.voices.names import checked_name
from ultimate_rvc.voices.pictures import find_picture
from ultimate_rvc.voices.record import VOICE_JSON, VOICE_JSON_FORMAT, write_record

if TYPE_CHECKING:
    from ultimate_rvc.rvc.voice_file.describe import VoiceFile

# The same voice gives the same bytes: entries carry the earliest time that a zip can hold.
ENTRY_TIME = (1980, 1, 1, 0, 0, 0)
ONLY_HERE = "Only this program reads a voice in 8 bits; for other tools export it in float16."


@dataclass(frozen=True)
class ExportedVoice:
    """An archive that was written."""

    path: Path
    bytes: int
    sha256: str
    files: tuple[str, ...]
    """Names in the archive."""
    warnings: tuple[str, ...]
    """What other tools may not be able to do with it, one sentence each."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def export_voice(
    name: str,
    target: Path | str | None = None,
    *,
    precision: VoicePrecision = VoicePrecision.FLOAT16,
    overwrite: bool = False,
) -> ExportedVoice:
    """Write a voice as a zip: ``<name>.pth`` in the form of the original RVC, and ``<name>.index``.

    Beside them lie ``voice.json`` with note, tags and preset, and the picture, which this program takes
    in again and others leave aside. Where the voice came from is not told.

    ``target`` is the zip to write, or a folder to write ``<name>.zip`` into; by default the output folder.
    With the ``precision`` int8 a ``<name>.safetensors`` takes the place of the ``.pth``: half its size, at
    the cost of rounding, and read by this program alone.

    Raises
    ------
    SettingError
        There is no such precision.
    VoiceNotFoundError, VoiceFileError
        There is no such voice, it cannot be read, or the zip is there already or cannot be written.
    """
    if precision not in list(VoicePrecision):
        raise SettingError(
            f"precision is {precision!r}, but must be one of {listed(list(VoicePrecision))}.", "precision"
        )
    ref = find_voice(name)
    stem = checked_name(ref.name.rpartition("/")[2])
    path = _zip_path(Path(target).expanduser() if target is not None else output_dir(), stem)
    _check_target(path, ref, overwrite)
    try:
        with tempfile.TemporaryDirectory(prefix="urvc-export-") as folder, atomic_path(path) as unfinished:
            files, warnings = _lay_out(ref, stem, precision, Path(folder))
            _write_zip(unfinished, files)
    except OSError as error:
        raise VoiceFileError(f"{path} cannot be written: {error.strerror or error}.") from error
    names = tuple(file.name for file in files)
    return ExportedVoice(path, path.stat().st_size, file_hash(path), names, (*ref.warnings, *warnings))


def _zip_path(target: Path, stem: str) -> Path:
    return target / f"{stem}.zip" if target.is_dir() or not target.suffix else target


def _check_target(path: Path, ref: VoiceRef, overwrite: bool) -> None:
    """Refuse, before any work, a place where the zip would harm what is the user's."""
    own = [ref.model_path, ref.index_path, ref.folder / VOICE_JSON if ref.folder else None]
    # By the file and not by its name: links and, on macOS, other cases are the same file.
    if any(file is not None and path.exists() and file.exists() and path.samefile(file) for file in own):
        raise VoiceFileError(
            f"{path} is a file of the voice {ref.name!r} itself: export it to another place."
        )
    if ref.folder is not None and path.parent.exists() and path.parent.samefile(ref.folder):
        raise VoiceFileError(f"{path} lies in the voice's own folder: export it to another place.")
    if path.suffix.lower() != ".zip":
        raise VoiceFileError(f"{path} cannot be written: a voice is exported as a .zip, or into a folder.")
    if path.is_dir():
        raise VoiceFileError(f"{path} is a folder: name another file, or another folder to write it into.")
    if path.exists() and not overwrite:
        raise VoiceFileError(f"There is a file {path} already: name another, or have it overwritten.")


def _lay_out(
    ref: VoiceRef, stem: str, precision: VoicePrecision, folder: Path
) -> tuple[list[Path], tuple[str, ...]]:
    """The files of the archive, side by side in a folder, and what to warn of."""
    from ultimate_rvc.rvc.voice_file.read import read_voice_file
    from ultimate_rvc.rvc.voice_file.write import write_eight_bit_voice, write_rvc_voice

    voice, short = read_voice_file(ref.model_path), folder / "model"
    in_eight_bits = precision == VoicePrecision.INT8
    try:
        (write_eight_bit_voice if in_eight_bits else write_rvc_voice)(short, voice)
    except VoiceFileError as error:
        raise VoiceFileError(f"{ref.model_path}: {error}") from error
    model = folder / f"{stem}{SAFETENSORS_SUFFIX if in_eight_bits else MODEL_SUFFIXES[0]}"
    short.rename(model)
    if ref.index_path is not None:
        shutil.copyfile(ref.index_path, folder / f"{stem}{INDEX_SUFFIX}")
    described = {"format": VOICE_JSON_FORMAT, "name": stem, **voice.metadata.to_json()}
    write_record(folder, {**described, **ref.record.owners_parts()})
    picture = find_picture(ref.own_folder)
    if picture is not None:
        shutil.copyfile(picture, folder / picture.name)
    names = (model.name, f"{stem}{INDEX_SUFFIX}", VOICE_JSON, picture.name if picture else "")
    files = [folder / name for name in names if name and (folder / name).is_file()]
    return files, (ONLY_HERE,) if in_eight_bits else _limits(voice)


def _limits(voice: VoiceFile) -> tuple[str, ...]:
    """Which tools cannot use a voice, though they can open its file."""
    metadata = voice.metadata
    told = []
    if metadata.vocoder is not Vocoder.HIFI_GAN:
        told.append(f"Only Applio and its relatives know the vocoder {metadata.vocoder}.")
    if metadata.embedder == EmbedderModel.STARTER:
        told.append(
            "Only this program has the content encoder 'starter', so other tools cannot use the voice."
        )
    elif metadata.embedder != EmbedderModel.CONTENTVEC:
        told.append(f"It needs the content encoder {metadata.embedder}; choose it where you use the voice.")
    return tuple(told)


def _write_zip(path: Path, files: list[Path]) -> None:
    # Stored: weights and vectors hardly shrink, and every tool reads stored entries.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name, ENTRY_TIME)
            entry.external_attr = 0o644 << 16
            is_huge = file.stat().st_size > 1 << 31
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=is_huge) as packed:
                shutil.copyfileobj(source, packed)

"""Voices in zip archives of any layout, unpacked without trusting the archive."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.voices.files import is_index_file, is_model_file

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 4 << 30  # a training checkpoint has 0.9 GB, the largest index 0.6 GB
# Weights hardly shrink; what shrinks a hundredfold is made to fill the disk.
MAX_RATIO = 100
SMALL_BYTES = 1 << 20


def is_plain_archive(path: Path) -> bool:
    """Whether ``path`` is a zip of files, and not the zip form of one torch file."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(PurePosixPath(name).name == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def unpack_voice(archive_path: Path, target: Path) -> list[Path]:
    """Unpack the models and indexes of an archive side by side into ``target``; returns their paths.

    Everything else in the archive is left out, and so are its folders.

    Raises
    ------
    VoiceFileError
        The archive is damaged, encrypted, leads out of its folder, holds links, or would fill the disk.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = _wanted(archive_path, archive.infolist())
            return [_unpack(archive_path, archive, entry, target) for entry in entries]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise VoiceFileError(f"{archive_path} is cut off or damaged; fetch it again.") from error


def _wanted(archive_path: Path, entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(entries) > MAX_ENTRIES:
        raise VoiceFileError(f"{archive_path} holds {len(entries)} files, more than any voice; refused.")
    for entry in entries:
        _check_entry(archive_path, entry)
    wanted = [
        entry
        for entry in entries
        if not entry.is_dir()
        and "__MACOSX" not in PurePosixPath(entry.filename).parts
        and (is_model_file(Path(entry.filename)) or is_index_file(Path(entry.filename)))
    ]
    total = sum(entry.file_size for entry in wanted)
    if total > MAX_UNPACKED_BYTES:
        raise VoiceFileError(f"{archive_path} unpacks to {total >> 20} MB, more than any voice; refused.")
    names = Counter(PurePosixPath(entry.filename).name.casefold() for entry in wanted)
    if doubled := [name for name, count in names.items() if count > 1]:
        raise VoiceFileError(
            f"{archive_path} holds several files named {doubled[0]}; unpack it and import the one you mean."
        )
    return wanted


def _check_entry(archive_path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise VoiceFileError(
            f"{archive_path} holds an entry named {shown!r}, which leaves the archive; refused."
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise VoiceFileError(f"{archive_path} holds a link ({shown!r}); refused.")
    if entry.flag_bits & 1:
        raise VoiceFileError(f"{archive_path} is locked with a password; unpack it and import its files.")
    if entry.file_size > max(SMALL_BYTES, MAX_RATIO * entry.compress_size):
        raise VoiceFileError(
            f"{archive_path} holds {shown!r}, which unpacks more than a hundredfold; refused."
        )


def _unpack(archive_path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> Path:
    # zipfile stops at the size that the entry states, which was checked, and compares its checksum.
    path = target / PurePosixPath(entry.filename).name
    try:
        with archive.open(entry) as packed, path.open("xb") as file:
            shutil.copyfileobj(packed, file)
    except OSError as error:
        raise VoiceFileError(f"{archive_path} cannot be unpacked: {error.strerror}.") from error
    return path

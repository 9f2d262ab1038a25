"""Voices in zip archives of any layout, unpacked without trusting the archive."""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.voice_file.foreign import HEAD_BYTES, foreign_kind
from ultimate_rvc.voices.files import INDEX_SUFFIX, MODEL_SUFFIXES, is_index_file, is_model_file
from ultimate_rvc.voices.pictures import MAX_PICTURE_BYTES, is_picture_name
from ultimate_rvc.voices.record import MAX_RECORD_BYTES, VOICE_JSON

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 4 << 30  # a training checkpoint has 0.9 GB, the largest index 0.6 GB
# Weights hardly shrink; what shrinks a hundredfold is made to fill the disk.
MAX_RATIO = 100
SMALL_BYTES = 1 << 20
MAX_DIRECTORY_BYTES = 8 << 20  # of 10 000 entries with long names; zipfile reads the whole of it at once

_END = struct.Struct("<4s4H2LH")  # of the central directory: ..., its bytes, its offset, length of a comment
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_MAX_COMMENT_BYTES = 1 << 16


def is_plain_archive(path: Path) -> bool:
    """Whether ``path`` is a zip of files, and not the zip form of one torch file.

    Raises
    ------
    VoiceFileError
        Its directory alone would fill the memory.
    """
    if not zipfile.is_zipfile(path):
        return False
    if _directory_bytes(path) > MAX_DIRECTORY_BYTES:
        raise VoiceFileError(f"{path} lists far more files than any voice has; refused.")
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(PurePosixPath(name).name == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _directory_bytes(path: Path) -> int:
    """How much zipfile would read to list an archive; it is found where zipfile looks for it."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        tail_start = max(0, length - _END.size - _MAX_COMMENT_BYTES - _LOCATOR_64.size)
        file.seek(tail_start)
        tail = file.read()
        end = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
        if end < 0:
            return 0
        stated: int = _END.unpack_from(tail, end)[5]
        locator_start = end - _LOCATOR_64.size
        if locator_start < 0 or tail[locator_start : locator_start + 4] != b"PK\6\7":
            return stated
        file.seek(max(0, tail_start + locator_start - _END_64.size))
        record = file.read(_END_64.size)
        if len(record) < _END_64.size or record[:4] != b"PK\6\6":
            return stated
        return int(_END_64.unpack(record)[8])


def other_kind(path: Path) -> str:
    """What a file is that is neither a model nor an archive by its suffix and bytes; follows its name."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if zipfile.is_zipfile(path):
        return f"is a voice file itself, not an archive: call it {path.stem}.pth"
    if head.startswith(b"PK"):
        return "is cut off or damaged: fetch it again"
    if kind := foreign_kind(head):
        return f"is {kind.what}: {kind.way_out}"
    if path.suffix.lower() == INDEX_SUFFIX:
        return "is an index, not a voice: name the voice file that it belongs to"
    kinds = f"{', '.join(MODEL_SUFFIXES)} or .zip"
    return f"is no voice file: a voice is a {kinds}, or a folder"


def unpack_voice(archive_path: Path, target: Path) -> dict[Path, str]:
    """Unpack the models and indexes of an archive into ``target``; returns their paths and names in it.

    A ``voice.json`` and a picture come along; everything else is left out, and so are the archive's folders.
    Files of one name are told apart by a numbered folder, unless they are the same file twice.

    Raises
    ------
    VoiceFileError
        The archive is damaged, encrypted, leads out of its folder, holds links, or would fill the disk.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = _wanted(archive_path, archive.infolist())
            return {_unpack(archive_path, archive, entry, target): entry.filename for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise VoiceFileError(f"{archive_path} is cut off or damaged; fetch it again.") from error


def _wanted(archive_path: Path, entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(entries) > MAX_ENTRIES:
        raise VoiceFileError(f"{archive_path} holds {len(entries)} files, more than any voice; refused.")
    for entry in entries:
        _check_entry(archive_path, entry)
    if sum(entry.compress_size for entry in entries) > archive_path.stat().st_size:
        raise VoiceFileError(f"{archive_path} lays files over each other to seem small; refused.")
    wanted = _each_once([entry for entry in entries if _is_wanted(entry)])
    total = sum(entry.file_size for entry in wanted)
    if total > MAX_UNPACKED_BYTES:
        raise VoiceFileError(f"{archive_path} unpacks to {total >> 20} MB, more than any voice; refused.")
    return wanted


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    if entry.is_dir() or "__MACOSX" in path.parts:
        return False
    if path.name == VOICE_JSON:
        return entry.file_size <= MAX_RECORD_BYTES
    if is_picture_name(Path(path.name)):
        return entry.file_size <= MAX_PICTURE_BYTES
    return is_model_file(Path(path.name)) or is_index_file(Path(path.name))


def _each_once(entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Entries without those that are another one over again, by name, size and checksum."""
    first = {(PurePosixPath(e.filename).name, e.file_size, e.CRC): e for e in reversed(entries)}
    return [entry for entry in entries if entry in first.values()]


def _check_entry(archive_path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise VoiceFileError(
            f"{archive_path} holds an entry named {shown!r}, which leaves the archive; refused."
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "something that is no file"
        raise VoiceFileError(f"{archive_path} holds {what} ({shown!r}); refused.")
    if entry.flag_bits & 1:
        raise VoiceFileError(f"{archive_path} is locked with a password; unpack it and import its files.")
    if entry.file_size > max(SMALL_BYTES, MAX_RATIO * entry.compress_size):
        raise VoiceFileError(
            f"{archive_path} holds {shown!r}, which unpacks more than a hundredfold; refused."
        )


def _unpack(archive_path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> Path:
    # zipfile stops at the size that the entry states, which was checked, and compares its checksum.
    name = PurePosixPath(entry.filename).name
    folder, number = target, 1
    while any(taken.casefold() == name.casefold() for taken in _names_in(folder)):
        folder, number = target / str(number), number + 1
    path = folder / name
    try:
        folder.mkdir(exist_ok=True)
        with archive.open(entry) as packed, path.open("xb") as file:
            shutil.copyfileobj(packed, file)
    except OSError as error:
        raise VoiceFileError(f"{archive_path} cannot be unpacked: {error.strerror}.") from error
    return path


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []

"""Where the entries of an uncompressed zip archive lie in its bytes.

``torch.save`` stores every entry uncompressed, so a file can be used as it lies on the disk once
its directory is known. The directory is distrusted: names that leave the archive, doubled names,
compressed or encrypted entries and entries that reach beyond the file are refused.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ultimate_rvc.rvc.voice_file.restricted_pickle import RefusedPickleError

ZIP_SIGNATURE = b"PK\x03\x04"
MAX_ENTRIES = 100_000  # a training checkpoint with its optimizer has about 2000

_END_SIGNATURE = b"PK\x05\x06"
_END = struct.Struct("<4s4H2LH")
_END_SEARCH_BYTES = _END.size + 0xFFFF  # the archive may end in a comment of up to 65535 bytes
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_IN_ZIP64_FIELD = 0xFFFFFFFF
_ZIP64_FIELD = 1
_ENCRYPTED = 1
_CUT_OFF = "is cut off or damaged (a zip file without its directory); fetch it again"


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """Where an entry's bytes lie in the file, and their recorded CRC-32."""

    start: int
    size: int
    checksum: int

    @property
    def end(self) -> int:
        return self.start + self.size


def read_zip_directory(data: mmap.mmap) -> dict[str, ZipEntry]:
    """The entries of a zip archive by name.

    Raises
    ------
    RefusedPickleError
        The archive is damaged or does what archives of torch never do; the text follows the file's name.
    """
    try:
        entries: dict[str, ZipEntry] = {}
        for name, entry in _entries(data):
            if name in entries:
                raise RefusedPickleError(f"holds two entries named {name[:100]!r}; refused")
            entries[name] = entry
        if sum(entry.size for entry in entries.values()) > len(data):
            # Entries that share bytes: a small file could stand for any amount of work.
            raise RefusedPickleError("holds entries that overlap; refused")
        return entries
    except (struct.error, ValueError) as error:
        if isinstance(error, RefusedPickleError):
            raise
        raise RefusedPickleError(_CUT_OFF) from error


def _entries(data: mmap.mmap) -> Iterator[tuple[str, ZipEntry]]:
    position, count = _directory_start(data)
    for _ in range(count):
        header = _CENTRAL.unpack_from(data, position)
        signature, flags, method, checksum = header[0], header[3], header[4], header[7]
        packed_size, size, name_length, extra_length, comment_length = header[8:13]
        local_start = header[16]
        if signature != b"PK\x01\x02":
            raise RefusedPickleError(_CUT_OFF)
        name_start = position + _CENTRAL.size
        raw_name = data[name_start : name_start + name_length]
        extra = data[name_start + name_length : name_start + name_length + extra_length]
        name = _checked_name(raw_name)
        size, packed_size, local_start = _wide(extra, size, packed_size, local_start)
        if "/code/__torch__" in name:
            raise RefusedPickleError("is a TorchScript program, not a voice; refused")
        if method != 0 or packed_size != size:
            raise RefusedPickleError(f"holds {name!r} compressed, which torch never does; refused")
        if flags & _ENCRYPTED:
            raise RefusedPickleError(f"holds {name!r} encrypted; refused")
        yield name, _locate(data, raw_name, local_start, size, checksum)
        position = name_start + name_length + extra_length + comment_length


def _directory_start(data: mmap.mmap) -> tuple[int, int]:
    """Position of the first directory record and the number of records."""
    end = data.rfind(_END_SIGNATURE, max(0, len(data) - _END_SEARCH_BYTES))
    if end < 0:
        raise RefusedPickleError(_CUT_OFF)
    _, _, _, _, count, _, start, _ = _END.unpack_from(data, end)
    locator = end - _END64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        _, _, end64, _ = _END64_LOCATOR.unpack_from(data, locator)
        if end64 > len(data):
            raise RefusedPickleError(_CUT_OFF)
        signature, _, _, _, _, _, _, count, _, start = _END64.unpack_from(data, end64)
        if signature != b"PK\x06\x06":
            raise RefusedPickleError(_CUT_OFF)
    if count > MAX_ENTRIES:
        raise RefusedPickleError(f"claims {count} entries, more than any voice has; refused")
    if start > len(data):
        raise RefusedPickleError(_CUT_OFF)
    return start, count


def _wide(extra: bytes, size: int, packed_size: int, local_start: int) -> tuple[int, int, int]:
    """The three figures with those that need 64 bits taken from the zip64 field."""
    figures = [size, packed_size, local_start]
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == _ZIP64_FIELD:
            wide = position + 4
            for place, figure in enumerate(figures):
                if figure == _IN_ZIP64_FIELD:
                    (figures[place],) = struct.unpack_from("<Q", extra, wide)
                    wide += 8
        position += 4 + length
    return figures[0], figures[1], figures[2]


def _locate(data: mmap.mmap, raw_name: bytes, local_start: int, size: int, checksum: int) -> ZipEntry:
    """Check the record in front of an entry's bytes: its name's length decides where they start."""
    if local_start > len(data):
        raise RefusedPickleError(_CUT_OFF)
    header = _LOCAL.unpack_from(data, local_start)
    name_length, extra_length = header[9], header[10]
    name_start = local_start + _LOCAL.size
    if header[0] != ZIP_SIGNATURE or data[name_start : name_start + name_length] != raw_name:
        raise RefusedPickleError("is damaged: its directory does not match its entries; fetch it again")
    start = name_start + name_length + extra_length
    if start + size > len(data):
        raise RefusedPickleError(_CUT_OFF)
    return ZipEntry(start, size, checksum)


def _checked_name(raw_name: bytes) -> str:
    name = raw_name.decode("utf-8", errors="replace")
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    if not name or name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise RefusedPickleError(f"holds an entry named {shown!r}, which leaves the archive; refused")
    return name

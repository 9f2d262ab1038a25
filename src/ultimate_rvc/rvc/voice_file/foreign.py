"""What a file is that someone took for a voice, an index or an archive, told by its first bytes."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 512  # that tell it
TAR_SIGNATURE = b"ustar"
TAR_SIGNATURE_OFFSET = 257
UNPACK = "unpack it with another program and take the files in it"
DOWNLOAD = "download the file itself"


@dataclass(frozen=True)
class ForeignKind:
    """How an error goes on: ``<file> is <what>: <way_out>``."""

    what: str
    way_out: str


_BY_SIGNATURE = (
    (b"PK\3\4", ForeignKind("a zip archive", UNPACK)),
    (b"Rar!\x1a\x07", ForeignKind("a RAR archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", ForeignKind("a 7z archive", UNPACK)),
    (b"\x1f\x8b", ForeignKind("a gzip archive", UNPACK)),
    (b"version https://git-lfs", ForeignKind("only a pointer to a file in Git LFS", DOWNLOAD)),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")


def foreign_kind(head: bytes) -> ForeignKind | None:
    """What a file is that begins with ``head``, if it is anything that people take for a voice."""
    for signature, kind in _BY_SIGNATURE:
        if head.startswith(signature):
            return kind
    if head[TAR_SIGNATURE_OFFSET:].startswith(TAR_SIGNATURE):
        return ForeignKind("a tar file", UNPACK)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_WEB_PAGE):
        return ForeignKind("a web page saved in place of the file", DOWNLOAD)
    if head and not any(byte < 9 for byte in head):
        return ForeignKind("a text file", "fetch or export it again")
    return None

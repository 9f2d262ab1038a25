"""The SHA-256 of a file, computed once for as long as its size and time stay the same.

A hidden stamp beside the file (``.NAME.verified``) holds size, time of change and SHA-256.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ultimate_rvc.files import atomic_path, file_hash

log = logging.getLogger(__name__)

DIGEST_LETTERS = 64


def remembered_hash(path: Path) -> str:
    """SHA-256 of a file as hexadecimal text, from its stamp where the file has not been touched since.

    Raises
    ------
    OSError
        The file is not there or cannot be read.
    """
    fingerprint = _fingerprint(path)
    try:
        remembered = stamp_path(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        remembered = []
    if remembered[:2] == fingerprint and len(remembered) == 3 and len(remembered[2]) == DIGEST_LETTERS:
        return remembered[2]
    digest = file_hash(path)
    remember_hash(path, digest)
    return digest


def remember_hash(path: Path, digest: str) -> None:
    """Write the stamp of a file whose SHA-256 is known."""
    try:
        with atomic_path(stamp_path(path)) as stamp:
            stamp.write_text(" ".join([*_fingerprint(path), digest]), encoding="ascii")
    except OSError as error:  # a folder that may not be written to is hashed again each time
        log.info("Could not note the checksum of %s: %s", path, error)


def forget_hash(path: Path) -> None:
    """Remove the stamp of a file, so that its bytes are read again."""
    stamp_path(path).unlink(missing_ok=True)


def stamp_path(path: Path) -> Path:
    """Where the stamp of a file lies."""
    return path.with_name(f".{path.name}.verified")


def _fingerprint(path: Path) -> list[str]:
    status = path.stat()
    return [str(status.st_size), str(status.st_mtime_ns)]

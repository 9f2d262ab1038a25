"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READ_BLOCK_BYTES = 1 << 20
# No space, a quota, or a file larger than the file system takes (4 GiB on FAT).
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on success it is synced and renamed to ``path``.

    On any exception the unfinished file is removed and ``path`` is left as it was. The yielded
    name keeps the suffix of ``path``, since writers choose their format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # 40 letters take at most 160 bytes: file systems allow 255 for the whole name.
    unfinished = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(6)}.partial{path.suffix}")
    try:
        with writing(path, unfinished):
            yield unfinished
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path`` to write into; on success it is renamed to ``path``, which is not there yet.

    On any exception it is removed with all that is in it.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def writing(path: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Make errors name ``path``: a write without room names no file, others name the ``unfinished`` one."""
    try:
        yield
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        if str(unfinished) in names or (not names and error.errno in NO_ROOM):
            error.filename = str(path)
            if error.filename2 is not None:
                del error.filename2
        raise


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class KnownHashes:
    """Hashes of files, each computed once for as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def of(self, path: Path | None) -> str:
        """As :func:`file_hash`; ``none`` for a file that is not there."""
        if path is None or not path.is_file():
            return "none"
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, file_hash(path))
        return known[1]

"""A folder of files that stays below a size: those unused for longest go first.

Files are written whole or not at all and never changed afterwards, so several processes may read, write
and remove at once: whoever finds a file gone computes it again. When a file was used is told by its
modification time, which reading renews; access times are switched off on many disks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.errors import CacheError, SettingError
from ultimate_rvc.files import atomic_path

SUFFIX = ".safetensors"
LIMIT_VARIABLE = "URVC_FEATURE_CACHE_MB"
DEFAULT_LIMIT_MB = 2048  # 3 minutes of vocal take 14 MB at 768 features: some 150 songs
BYTES_PER_MB = 1_000_000
ABANDONED_SECONDS = 3600.0  # a file that is still unfinished after so long belongs to a dead process


@dataclass(frozen=True)
class FeatureFile:
    """One file of the folder; ``finished`` is False for what a process is writing, or died over."""

    path: Path
    size_bytes: int
    used_ns: int
    finished: bool


def limit_bytes(environment: Mapping[str, str] = os.environ) -> int:
    """How large the folder may grow: ``URVC_FEATURE_CACHE_MB``, in millions of bytes.

    A :class:`SettingError` unless the variable is a whole number above 0.
    """
    way_out = "; RVC_FEATURE_CACHE=false switches the feature cache off"
    return limit_of(LIMIT_VARIABLE, DEFAULT_LIMIT_MB, environment, way_out)


def limit_of(variable: str, default_mb: int, environment: Mapping[str, str], way_out: str = "") -> int:
    """The bytes that a variable allows in whole megabytes; ``way_out`` ends the sentence of a wrong one.

    A :class:`SettingError` unless the variable is a whole number above 0.
    """
    text = environment.get(variable, "").strip() or str(default_mb)
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise SettingError(
            f"{variable} is {text!r}, but must be a whole number of megabytes from 1{way_out}."
        )
    return int(text) * BYTES_PER_MB


def list_feature_files(folder: Path) -> list[FeatureFile]:
    """Every file of the cache in ``folder``, least recently used first; none where there is no folder."""
    return sorted(_files(folder), key=lambda file: (file.used_ns, file.path.name))


def clear_feature_files(folder: Path) -> list[FeatureFile]:
    """Remove everything and tell what it was, or raise :class:`CacheError` for what cannot be removed.

    A conversion that runs meanwhile computes what it misses.
    """
    removed = list_feature_files(folder)
    for file in removed:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(f"{file.path} cannot be removed ({error.strerror}).") from error
    return removed


def _files(folder: Path) -> Iterator[FeatureFile]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if not entry.name.endswith(SUFFIX):
                continue
            with suppress(FileNotFoundError):  # removed by another process since
                state = entry.stat()
                # ``atomic_path`` begins the names of unfinished files with a dot.
                finished = not entry.name.startswith(".")
                yield FeatureFile(Path(entry.path), state.st_size, state.st_mtime_ns, finished)


class FeatureFiles:
    """Files by name below ``folder``, together at most ``max_bytes``.

    The folder is made when the first file is written. Its size is checked after each file; other processes
    may exceed it together until then. ``clock`` gives seconds since 1970, by which files are marked as used.
    """

    def __init__(self, folder: Path, max_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._clock = clock
        self._room_bytes = 0  # that may be written before the folder must be looked through again

    def path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def read(self, name: str) -> bytes | None:
        """The bytes of the file, which counts as used now, or None where there is none.

        An ``OSError`` where the file is there and cannot be read.
        """
        path = self.path(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        with suppress(OSError):  # gone meanwhile, or a folder that may be read only: the bytes are good
            self._mark_used(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write the file, then remove the least recently used ones until the rest fits.

        A file larger than the whole folder may be is not written. An ``OSError`` where the disk is full, or
        the folder cannot be written.
        """
        if len(content) > self.max_bytes:
            return
        path = self.path(name)
        with atomic_path(path) as unfinished:
            unfinished.write_bytes(content)
            self._mark_used(unfinished)
        self._room_bytes -= len(content)
        if self._room_bytes < 0:
            self._room_bytes = self._make_room(path)

    def remove(self, name: str) -> None:
        with suppress(OSError):
            self.path(name).unlink(missing_ok=True)

    def _mark_used(self, path: Path) -> None:
        now = self._clock()
        os.utime(path, (now, now))

    def _make_room(self, newest: Path) -> int:
        """Bring the folder below its limit; returns the bytes that are left to it."""
        abandoned_ns = int((self._clock() - ABANDONED_SECONDS) * 1e9)
        files = list_feature_files(self.folder)
        total = sum(file.size_bytes for file in files)
        for file in files:
            abandoned = not file.finished and file.used_ns < abandoned_ns
            unwanted = file.finished and file.path != newest and total > self.max_bytes
            if abandoned or unwanted:
                with suppress(OSError):  # open in another process, where the system forbids removing that
                    file.path.unlink(missing_ok=True)
                    total -= file.size_bytes
        return self.max_bytes - total

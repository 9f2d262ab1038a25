"""Exported networks on disk, by content: one folder each, which appears when it is complete.

A folder's name is the hash of all that it was made of: weights, layers, backend, precision and the versions of the
libraries. So what an older version made is never found, and what was interrupted has no such name.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from ultimate_rvc.errors import CacheError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.rvc.infer.optimization.feature_files import limit_of

EXPORT_VERSION = 2  # raised whenever our own code exports the same network otherwise
RECORD_NAME = "export.json"
UNFINISHED = ".partial"
LIMIT_VARIABLE = "URVC_EXPORTS_MB"
DEFAULT_LIMIT_MB = 4096  # a voice with its encoder takes 100 to 600 MB
ABANDONED_SECONDS = 24 * 3600.0  # an export that is still unfinished after so long belongs to a dead process


@dataclass(frozen=True)
class ExportEntry:
    """One exported network."""

    folder: Path
    size_bytes: int
    used_seconds: float


def export_key(identity: str, backend: str, precision: str, version: str) -> str:
    """The name of an export's folder."""
    made_of = f"{EXPORT_VERSION} torch {torch.__version__} {backend} {version} {precision} {identity}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:40]


def made_or_found(store: Path, key: str, facts: dict[str, str], make: Callable[[Path], None]) -> Path:
    """The folder of an export below ``store``: found as it was written, else made by ``make`` in an empty folder.

    Several processes may do so at once: the first to finish is kept.
    """
    folder = store / key
    if is_whole(folder):
        os.utime(folder)
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    unfinished = store / f"{key}.{secrets.token_hex(4)}{UNFINISHED}"
    try:
        unfinished.mkdir(parents=True)
        make(unfinished)
        _write_record(unfinished, facts)
        with suppress(OSError):  # another process was faster; its export is the same
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    forget_oldest(store, limit_bytes(), keep=folder)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether an export has all files that were written, as they were written."""
    try:
        files = json.loads((folder / RECORD_NAME).read_text("utf-8"))["files"]
        return all(file_hash(folder / name) == sha256 for name, sha256 in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def limit_bytes() -> int:
    """How large all exports together may grow: ``URVC_EXPORTS_MB``, in millions of bytes.

    A :class:`SettingError` unless the variable is a whole number above 0.
    """
    return limit_of(LIMIT_VARIABLE, DEFAULT_LIMIT_MB, os.environ)


def list_exports(store: Path) -> list[ExportEntry]:
    """All exports below ``store``, least recently used first; what a dead process left unfinished goes."""
    return sorted(_entries(store), key=lambda entry: entry.used_seconds)


def forget_oldest(store: Path, most_bytes: int, *, keep: Path) -> None:
    """Remove exports that were not used for longest until at most ``most_bytes`` are left, ``keep`` among them."""
    entries = list_exports(store)
    total = sum(entry.size_bytes for entry in entries)
    for entry in entries:
        if total <= most_bytes:
            return
        if entry.folder != keep:
            shutil.rmtree(entry.folder, ignore_errors=True)
            total -= entry.size_bytes


def clear_exports(store: Path) -> list[ExportEntry]:
    """Remove all exports and tell what they were; a :class:`CacheError` for what cannot be removed."""
    removed = list_exports(store)
    for entry in removed:
        try:
            shutil.rmtree(entry.folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CacheError(f"{entry.folder} cannot be removed ({error.strerror}).") from error
    return removed


def _write_record(folder: Path, facts: dict[str, str]) -> None:
    files = {path.relative_to(folder).as_posix(): file_hash(path) for path in _files(folder)}
    with atomic_path(folder / RECORD_NAME) as unfinished:
        unfinished.write_text(json.dumps({**facts, "files": files}, indent=1), encoding="utf-8")


def _entries(store: Path) -> Iterator[ExportEntry]:
    if not store.is_dir():
        return
    for folder in store.iterdir():
        with suppress(FileNotFoundError):  # removed by another process since
            used = folder.stat().st_mtime
            if folder.name.endswith(UNFINISHED):
                if time.time() - used > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir():
                size = sum(path.stat().st_size for path in _files(folder))
                yield ExportEntry(folder, size, used)


def _files(folder: Path) -> list[Path]:
    """All files below a folder: some exports are folders in a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())

"""Changing the library: one change at a time, and nothing half done under a final name."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.voices.names import same_form

UNFINISHED_PREFIX = ".importing-"
LOCK_NAME = ".import.lock"


class NameTakenError(VoiceFileError):
    """There is a voice of that name already."""


@contextmanager
def library_lock(library: Path) -> Iterator[None]:
    """One change at a time: what is unfinished while the lock is held was left by a killed one."""
    from filelock import FileLock

    library.mkdir(parents=True, exist_ok=True)
    with FileLock(library / LOCK_NAME):
        for leftover in library.glob(f"{UNFINISHED_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def unfinished_folder(library: Path) -> Iterator[Path]:
    """A hidden folder of the library to build in; it is gone at the end, whatever happens."""
    folder = library / f"{UNFINISHED_PREFIX}{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def changing(library: Path, deed: str) -> Iterator[None]:
    """Hold the lock while something is done; what the disk refuses becomes one sentence with ``deed``."""
    try:
        with library_lock(library):
            yield
    except OSError as error:
        raise VoiceFileError(f"{deed} failed in {library}: {error.strerror or error}.") from error


def refuse_taken_name(name: str, library: Path, *, ignore: str | None = None) -> None:
    """Raise unless no entry of the library is called ``name``; ``ignore`` is an entry that may be.

    Names are compared without case: on macOS and Windows, such folders would be the same.

    Raises
    ------
    NameTakenError
        The name is taken.
    """
    for entry in library.iterdir():
        if entry.name == ignore or same_form(entry.name).casefold() != name.casefold():
            continue
        raise NameTakenError(
            f"The name {entry.name!r} is taken in {library}: choose another, or delete that voice first."
        )

"""Changing the library: one change at a time, and nothing half done under a final name."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.paths import packaged_assets_dir
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


def files_in(folder: Path) -> list[Path]:
    """All files below ``folder``, and symbolic links, whatever they point to."""
    return [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]


def move(path: Path, target: Path) -> None:
    """Rename a file, folder or symbolic link; relative links still point to the same places then."""
    links = [path] if path.is_symlink() else [inner for inner in files_in(path) if inner.is_symlink()]
    places: dict[Path, str] = {}
    for link in links:
        place = os.path.realpath(link)
        is_inside = not path.is_symlink() and Path(place).is_relative_to(path.resolve())
        if not link.readlink().is_absolute() and not is_inside:
            places[link.relative_to(path)] = place
            _point(link, place)  # first absolutely: whenever this process is killed, the link is right
    path.rename(target)
    for inner, place in places.items():
        link = target / inner
        _point(link, os.path.relpath(place, link.parent.resolve()))


def _point(link: Path, place: str) -> None:
    beside = link.with_name(f".{secrets.token_hex(6)}")
    beside.symlink_to(place)
    beside.replace(link)


def refuse_taken_name(name: str, library: Path, *, ignore: str | None = None) -> None:
    """Raise unless no entry of the library is called ``name``; ``ignore`` is an entry that may be.

    The names of voices that ship with the package are taken as well: a voice of the user's goes before ours of the
    same name, so ours would be gone without a word. Names are compared without case: on macOS and Windows, such
    folders would be the same.

    Raises
    ------
    NameTakenError
        The name is taken.
    """
    for ours in (packaged_assets_dir() / "voices").iterdir():
        if ours.name.casefold() == name.casefold():
            raise NameTakenError(
                f"The name {ours.name!r} is that of a voice which ships with the program: choose another."
            )
    for entry in library.iterdir():
        if entry.name == ignore or same_form(entry.name).casefold() != name.casefold():
            continue
        raise NameTakenError(
            f"The name {entry.name!r} is taken in {library}: choose another, or delete that voice first."
        )

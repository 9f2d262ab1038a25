"""Where results go: chosen and checked before the first second of work, and put there whole or not at all.

What a user owns is never overwritten. A path that the user gives must not be one of the inputs; a name that the
program makes is numbered where another file has it, unless the program itself made that file from the same
source and nobody has touched it since (the ledger says so).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import atomic_path, file_hash, writing
from ultimate_rvc.paths import audio_dir
from ultimate_rvc.settings import listed, setting

MAX_NAME_BYTES = 255  # of most file systems
NUMBER_BYTES = 8  # kept free for `` (12345)``
MAX_TITLE_BYTES = 100  # of a song's or voice's name within another name
LEAST_FREE_BYTES = 1 << 20
LEDGER_ENTRIES = 10_000
Ours = Callable[[Path, Path | None], bool]  # whether the program made a file from a source
FOLDS_CASE = sys.platform in ("darwin", "win32")  # whether their file systems take A.wav for a.wav


def overwrite_setting() -> Any:
    """The field ``overwrite`` of whatever writes files."""
    return setting(
        None,
        "Replace files that are there, or never; left out: only a file that was named, and earlier results of "
        "the same source in a folder that was named.",
        label="Replace files",
    )


@dataclass(frozen=True)
class Target:
    """Where one result goes."""

    path: Path
    is_named: bool
    """Whether the user named this very file; else it is numbered when another file has its name."""
    source: Path | None = None
    """What it is made from."""
    may_replace: bool = True
    """Whether a file of that name may be replaced: one that the user named, or one that is our own."""


@dataclass(frozen=True)
class Placed:
    """A result in its place."""

    path: Path
    replaced: bool
    """Whether it took the place of another file."""
    written: bool = True
    """Whether it was put there now; a file that holds these very bytes already may be the user's."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return (f"{self.path} was there already and has been replaced.",) if self.replaced else ()


class Outputs:
    """The targets of one piece of work, none of which is an input or another's target.

    Parameters
    ----------
    inputs : paths
        Everything that the work reads: sources, the voice's files, cookies.
    overwrite : bool or None
        True: names that the program makes replace whatever has them, but inputs; False: nothing is replaced;
        None: a file that the user named is, and what the program made from the same source.
    ours : callable
        Whether the program made a file from a source; left out, the ledger of this machine knows.
    """

    def __init__(
        self, inputs: Iterable[Path | None], overwrite: bool | None = None, *, ours: Ours | None = None
    ) -> None:
        self._is_ours = ours or is_ours
        self._inputs = [path for path in inputs if path is not None]
        self._input_keys = {_key(path): path for path in self._inputs}
        self._overwrite = overwrite
        self._taken: set[str] = set()

    def named_file(self, path: Path, field: str = "output", *, needs_bytes: int = 0) -> Target:
        """The file that the user named.

        Raises
        ------
        SettingError
            It is an input or a folder, its folder is not there or cannot be written, it may not be replaced,
            its name is too long, or the disk is too full.
        """
        path = path.expanduser()
        if path.is_dir():
            raise SettingError(f"{field} {path} is a folder; give the name of a file.", field)
        if self._is_input(path):
            raise SettingError(f"{field} {path} is one of the files to read; give another name.", field)
        if len(path.name.encode()) > MAX_NAME_BYTES:
            raise SettingError(
                f"{field} {path} has a name of over {MAX_NAME_BYTES} bytes; shorten it.", field
            )
        if path.exists() and not path.is_file():
            raise SettingError(f"{field} {path} is no file; give another name.", field)
        if path.exists() and self._overwrite is False:
            raise SettingError(
                f"{field} {path} is there already, and overwrite is off; give another name.", field
            )
        if not path.parent.is_dir():
            raise SettingError(f"{field} {path}: there is no folder {path.parent}; make it first.", field)
        _check_folder(path.parent, f"the folder of {field}", "choose another", field, needs_bytes)
        self._taken.add(_key(path))
        return Target(path, is_named=True)

    def folder(
        self, path: Path | None, default: Path, field: str = "output", *, needs_bytes: int = 0
    ) -> Path:
        """The folder that the user named, or ``default``; it is made when the first result is put there.

        Raises
        ------
        SettingError
            It is a file, looks like one, or cannot be written.
        """
        if path is None:
            _check_folder(default, "the output folder", "move it with URVC_AUDIO_DIR", field, needs_bytes)
            return default
        path = path.expanduser()
        if path.exists() and not path.is_dir():
            raise SettingError(f"{field} {path} is a file; give a folder.", field)
        if not path.exists() and re.fullmatch(r"\.[A-Za-z0-9]{1,5}", path.suffix):
            raise SettingError(
                f"{field} {path} looks like a file, but a folder is wanted; make that folder first if it is one.",
                field,
            )
        _check_folder(path, f"the folder {field}", "choose another", field, needs_bytes)
        return path

    def made(
        self,
        folder: Path,
        stem: str,
        tail: str,
        suffix: str,
        *,
        source: Path | None = None,
        ours: bool = True,
    ) -> Target:
        """A file named ``<stem><tail><suffix>``, shortened to what file systems take, with a number if need be.

        ``ours`` says whether it may take the place of what the program made from ``source`` before.
        """
        name = fitted(stem, tail, suffix)
        for candidate in numbered(folder, name, suffix):
            key = _key(candidate)
            if key in self._taken or key in self._input_keys:
                continue
            self._taken.add(key)
            may_replace = self._overwrite is True or (
                ours and self._overwrite is None and self._is_ours(candidate, source)
            )
            return Target(candidate, is_named=False, source=source, may_replace=may_replace)
        raise AssertionError("there are endless numbers")

    def _is_input(self, path: Path) -> bool:
        if _key(path) in self._input_keys:
            return True
        return path.exists() and any(each.exists() and each.samefile(path) for each in self._inputs)


def place(finished: Path, target: Target) -> Placed:
    """Copy ``finished`` to its target; a file with these very bytes is left as it is.

    If another file took a name that the program made since it was chosen, the next number is taken.
    """
    folder = target.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time():
        _remove_what_a_killed_run_left(folder)
        partial = folder / f"{_partial_prefix()}{secrets.token_hex(6)}.partial"
        try:
            with writing(target.path, partial):
                shutil.copyfile(finished, partial)
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                placed = _move(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        if placed.written and not target.is_named:
            _remember(placed.path, target.source)
        return placed


def _move(partial: Path, target: Target) -> Placed:
    size, digest = partial.stat().st_size, file_hash(partial)
    if target.is_named or target.may_replace:
        if is_same(target.path, size, digest):
            return Placed(target.path, replaced=False, written=False)
        existed = os.path.lexists(target.path)
        partial.replace(target.path)
        return Placed(target.path, replaced=existed)
    for candidate in numbered(target.path.parent, target.path.stem, target.path.suffix):
        if is_same(candidate, size, digest):
            return Placed(candidate, replaced=False, written=False)
        if move_to_free_name(partial, candidate):
            return Placed(candidate, replaced=False)
    raise AssertionError("there are endless numbers")


def move_to_free_name(partial: Path, path: Path) -> bool:
    """Rename unless something has the name: a link never replaces, as a rename does."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links, such as exFAT
        if os.path.lexists(path):
            return False
        partial.replace(path)
    return True


def is_same(path: Path, size: int, digest: str) -> bool:
    """Whether a file holds just these bytes."""
    return path.is_file() and path.stat().st_size == size and file_hash(path) == digest


def format_of(path: Path, asked: AudioFormat | None, field: str = "output") -> AudioFormat:
    """The audio format of a file to write, by its suffix.

    Raises
    ------
    SettingError
        The suffix is no format's, or another's than ``asked``.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in set(AudioFormat):
        raise SettingError(
            f"{field} {path.name} should end in one of .{listed(tuple(AudioFormat)).replace(', ', ', .')}.",
            field,
        )
    if asked not in (None, suffix):
        raise SettingError(
            f"{field} {path.name} and output_format {asked} disagree; give one of them.",
            field,
            "output_format",
        )
    return AudioFormat(suffix)


def file_title(title: str) -> str:
    """``title`` as part of a file name: without what file systems refuse, and of bounded length."""
    plain = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', " ", title)
    plain = re.sub(r"\s+", " ", plain).strip(" .")
    return shortened(plain, MAX_TITLE_BYTES).strip(" .") or "song"


def fitted(stem: str, tail: str, suffix: str) -> str:
    """``<stem><tail>``, the stem shortened so that suffix and a number fit into a file name."""
    return shortened(stem, MAX_NAME_BYTES - NUMBER_BYTES - len((tail + suffix).encode())) + tail


def shortened(text: str, most_bytes: int) -> str:
    """The beginning of ``text`` that fits into so many bytes, cut between whole characters."""
    return text.encode()[: max(most_bytes, 0)].decode(errors="ignore")


def numbered(folder: Path, name: str, suffix: str) -> Iterator[Path]:
    """``name``, ``name (1)``, ``name (2)`` and so on."""
    yield folder / f"{name}{suffix}"
    for number in itertools.count(1):
        yield folder / f"{name} ({number}){suffix}"


def _key(path: Path) -> str:
    """What two paths of one file have in common, whether it is there or not."""
    path = path.expanduser()
    real = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
    real = os.path.realpath(real) if path.exists() else real
    return unicodedata.normalize("NFC", real).casefold() if FOLDS_CASE else real


def _check_folder(folder: Path, what: str, way_out: str, field: str, needs_bytes: int) -> None:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    probe = there / f"{_partial_prefix()}{secrets.token_hex(6)}.partial"
    try:
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise SettingError(
            f"{what.capitalize()}, {folder}, cannot be written ({error.strerror}); {way_out}.", field
        ) from None
    free, needed = shutil.disk_usage(there).free, max(needs_bytes, LEAST_FREE_BYTES)
    if free < needed:
        raise SettingError(
            f"{what.capitalize()}, {folder}, has {free / 1e6:.0f} MB free, but about {needed / 1e6:.0f} MB are "
            f"needed; make room or {way_out}.",
            field,
        )


# ------------------------------------------------------------------ what the program made


def is_ours(path: Path, source: Path | None) -> bool:
    """Whether the program made ``path`` from ``source``, and nobody has changed it since."""
    entry = _ledger().get(str(path.absolute()))
    if entry is None or entry["source"] != _source_of(source) or not path.is_file():
        return False
    return bool(entry["stamp"] == _stamp(path))


def _ledger_path() -> Path:
    return audio_dir() / "results.json"


def _ledger() -> dict[str, Any]:
    try:
        entries = json.loads(_ledger_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # then nothing is known to be ours, and names are numbered
        return {}
    return entries if isinstance(entries, dict) else {}


def _remember(path: Path, source: Path | None) -> None:
    entries = _ledger()
    entries.pop(str(path.absolute()), None)
    entries[str(path.absolute())] = {"source": _source_of(source), "stamp": _stamp(path)}
    latest: Mapping[str, Any] = dict(list(entries.items())[-LEDGER_ENTRIES:])
    with atomic_path(_ledger_path()) as unfinished:
        unfinished.write_text(json.dumps(latest, ensure_ascii=False), encoding="utf-8")


def _source_of(source: Path | None) -> str | None:
    return None if source is None else str(source.absolute())


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


# ------------------------------------------------------------------ one run at a time


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """So that two runs never choose one name, and what a killed one left can be removed."""
    from filelock import FileLock

    audio_dir().mkdir(parents=True, exist_ok=True)
    with FileLock(audio_dir() / ".output.lock"):
        yield


def _partial_prefix() -> str:
    import hashlib

    return f".urvc-{hashlib.sha256(str(audio_dir()).encode()).hexdigest()[:8]}-"


def _remove_what_a_killed_run_left(folder: Path) -> None:
    for left in folder.glob(f"{_partial_prefix()}*.partial"):
        left.unlink(missing_ok=True)

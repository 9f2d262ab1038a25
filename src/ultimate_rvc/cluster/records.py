"""What the cluster made in an output folder: notes beside the results, as its machines share nothing else.

A note is an empty file whose name says all: result and source, size and time of the result, and the key of what it
was made from. It is written before the result appears, so that no result is ever without one; a note without its
result says nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ultimate_rvc.errors import AudioError, ClusterError
from ultimate_rvc.outputs import Ours, Placed, Target, move_to_free_name, numbered

FOLDER = ".urvc-cluster"
NOTES, UNFINISHED, LOCK = "notes", "unfinished", "run.lock"
HASH_LETTERS = 32  # of SHA-256: 128 bits
MOST_NUMBERS = 1000  # of files of one name that are not ours


class Records:
    """Of one output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes = folder / FOLDER / NOTES
        self._unfinished = folder / FOLDER / UNFINISHED

    @contextmanager
    def only_run(self) -> Iterator[str]:
        """Keep a second run out of the folder and remove what killed ones left; gives this run a name.

        Raises
        ------
        ClusterError
            Another run works in it.
        """
        from filelock import FileLock, Timeout

        self._notes.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / FOLDER / LOCK, blocking=False):
                shutil.rmtree(self._unfinished, ignore_errors=True)
                yield secrets.token_hex(6)
                shutil.rmtree(self._unfinished, ignore_errors=True)
        except Timeout as error:
            raise ClusterError(
                f"Another run writes to {self.folder}; wait until it has ended, or choose another output."
            ) from error

    @contextmanager
    def workplace(self, run: str) -> Iterator[Path]:
        """An empty folder for one unfinished file, on the disk of the results."""
        place = self._unfinished / run / secrets.token_hex(8)
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def known(self) -> Ours:
        """Whether the cluster made a file from a source and nobody has touched it: as noted by now."""
        notes = {name.rpartition("-")[0] for name in os.listdir(self._notes)}  # noqa: PTH208 - names are enough

        def is_ours(path: Path, source: Path | None) -> bool:
            return (name := self._name(path, source)) is not None and name in notes

        return is_ours

    def find(self, target: Target, key: str) -> Path | None:
        """The result that was made for a target under ``key``, if it is there as it was made."""
        for path in numbered(target.path.parent, target.path.stem, target.path.suffix):
            if (name := self._name(path, target.source)) is None:
                return None
            if (self._notes / f"{name}-{key}").exists():
                return path
        raise AssertionError("there are endless numbers")

    def put(self, finished: Path, target: Target, key: str) -> Placed:
        """Move a finished file of the same disk to its target, whole or not at all.

        Two workers may do one file, when a machine was taken for dead: the first is left as it is.

        Raises
        ------
        AudioError
            There are too many other files of that name.
        """
        target.path.parent.mkdir(parents=True, exist_ok=True)
        with finished.open("rb+") as file:
            os.fsync(file.fileno())
        if target.may_replace:
            self._note(target.path, target.source, finished, key)
            existed = os.path.lexists(target.path)
            finished.replace(target.path)
            return Placed(target.path, replaced=existed)
        for _, path in zip(
            range(MOST_NUMBERS),
            numbered(target.path.parent, target.path.stem, target.path.suffix),
            strict=False,
        ):
            if (there := self.find(target, key)) is not None:
                return Placed(there, replaced=False, written=False)
            self._note(path, target.source, finished, key)
            if move_to_free_name(finished, path):
                return Placed(path, replaced=False)
        raise AudioError(f"{target.path} and its numbers are taken by other files; choose another output.")

    def _note(self, path: Path, source: Path | None, finished: Path, key: str) -> None:
        name = self._name(path, source, finished)
        (self._notes / f"{name}-{key}").touch()

    def _name(self, path: Path, source: Path | None, as_in: Path | None = None) -> str | None:
        """A note's name without its key, as long as the result is the file ``as_in`` (left out: what is there)."""
        try:
            status = (as_in or path).stat()
        except OSError:
            return None
        place = f"{path.relative_to(self.folder).as_posix()}\0{source}"
        digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:HASH_LETTERS]
        return f"{digest}-{status.st_size}-{status.st_mtime_ns}"

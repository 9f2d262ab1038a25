"""The cache of finished steps, found by content: never by a name, never half-written.

Layout below the cache folder::

    <step>/<key>/            a finished entry: its files and manifest.json
    partial/<key>.<token>/   an entry being written; renamed to the above when complete
    locks/<key>.lock         held while an entry is written or replaced
    locks/run-<token>.lock   held by every run that uses the cache, as long as it does
    locks/gate.lock          held for the moment in which a run enters, and while entries are cleared
    features/                files of the feature cache, which lists and clears them itself

The operating system frees a lock when its process ends, however it ends. So a partial folder whose
lock can be taken belongs to a dead process and is removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ultimate_rvc.errors import AudioError, CacheError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import cache_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.shared_folder import SharedFolder, open_shared_folder
from ultimate_rvc.shared_locks import SharedLocks, open_shared_locks

logger = logging.getLogger(__name__)

Facts = dict[str, Any]
"""What a step has to say beside its files (warnings, model names): anything JSON can hold."""

MANIFEST_NAME = "manifest.json"
PARTIAL_FOLDER = "partial"
LOCK_FOLDER = "locks"
GATE_LOCK = "gate"
LOCK_POLL_SECONDS = 0.2  # how often a waiting run looks for a wish to cancel
# What takes minutes to make; all else is made faster than it is fetched.
SHARED_STEPS = frozenset({"separate", "split-backing", "remove-reverb"})
KEY_LENGTH = 40  # hexadecimal digits of SHA-256: 160 bits, and a path short enough for Windows


@dataclass(frozen=True)
class CachedFile:
    """One file of an entry as its manifest records it."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class CacheEntry:
    """A finished step: its files by name, what it said, and whether it was found or made now."""

    step: str
    key: str
    folder: Path
    files: dict[str, CachedFile]
    facts: Facts
    cached: bool

    def path(self, name: str) -> Path:
        return self.files[name].path

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())


@dataclass(frozen=True)
class EntrySummary:
    """One line of the list of entries; ``complete`` is False where the manifest cannot be read."""

    step: str
    key: str
    folder: Path
    size_bytes: int
    modified_seconds: float
    complete: bool
    inputs: dict[str, Any]
    files: tuple[Path, ...]


def step_key(step: str, version: int, inputs: Mapping[str, Any]) -> str:
    """The name of a step's result: a hash of everything that decides its bytes.

    ``version`` is that of the step's algorithm, raised whenever its output changes. ``inputs`` are hashes of
    the input files and of the model files, and the settings that matter: order is of no consequence; 1 and
    1.0 are the same.
    """
    text = json.dumps(
        {"step": step, "version": version, "inputs": _plain(inputs)}, sort_keys=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _plain(value: Any) -> Any:
    """The same value with one spelling for each number, so that equal settings have equal keys."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return [_plain(part) for part in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if value != int(value) else int(value)
    return value


def open_step_cache() -> StepCache:
    """The user's cache, and what other machines share with it."""
    return StepCache(cache_dir(), open_shared_folder(), open_shared_locks())


class StepCache:
    """Results of steps below ``folder``, safe for several processes at once.

    Those of :data:`SHARED_STEPS` that are not there are looked for in ``shared``, and what is made goes there too;
    ``locks`` keep two machines from making one at once.
    """

    def __init__(
        self, folder: Path, shared: SharedFolder | None = None, locks: SharedLocks | None = None
    ) -> None:
        self.folder = folder
        self._shared, self._shared_locks = shared, locks

    # ------------------------------------------------------------------ use

    @contextmanager
    def use(self) -> Iterator[None]:
        """Hold the cache open: :meth:`clear` refuses while any run does. Sweeps up after dead runs."""
        run_lock = self._lock(f"run-{secrets.token_hex(8)}")
        with self.exclusive(GATE_LOCK):
            run_lock.acquire(timeout=0)
        try:
            self._remove_stale_partials()
            yield
        finally:
            run_lock.release()
            Path(run_lock.lock_file).unlink(missing_ok=True)

    def get(
        self,
        step: str,
        version: int,
        inputs: Mapping[str, Any],
        make: Callable[[Path], Facts],
        progress: Progress | None = None,
    ) -> CacheEntry:
        """The finished entry for these inputs: found and verified, or made by ``make`` now.

        ``make`` gets an empty folder, writes the step's files into it and returns the step's facts.
        Of several processes that want one entry, the first makes it and the others wait for it. An
        entry that is incomplete or whose bytes do not match its manifest is made again.

        Raises
        ------
        CacheError
            When the cache folder cannot be written, or its disk is full.
        """
        key = step_key(step, version, inputs)
        if found := self._verified(step, key):
            return found
        with self._locked(key, step, progress):
            if found := self._verified(step, key):  # another run made it while this one waited
                return found
            if step not in SHARED_STEPS or self._shared is None:
                return self._make(step, key, inputs, make)
            return self._get_shared(
                self._shared, step, key, lambda: self._make(step, key, inputs, make), progress
            )

    def _get_shared(
        self,
        shared: SharedFolder,
        step: str,
        key: str,
        make: Callable[[], CacheEntry],
        progress: Progress | None,
    ) -> CacheEntry:
        """What another machine has made, or makes now, or what is made here for all of them."""
        if found := self._fetched(shared, step, key):
            return found

        def waiting() -> None:
            if progress is not None:
                progress.report(step, 0.0, "waiting for another machine that makes this step")

        with self._shared_locks.hold(key, waiting) if self._shared_locks else nullcontext():
            if found := self._fetched(shared, step, key):
                return found
            entry = make()
            self._send(shared, entry)
            return entry

    def _fetched(self, shared: SharedFolder, step: str, key: str) -> CacheEntry | None:
        """An entry copied from where machines share it, if it is there and whole."""
        place, partial = (
            _shared_place(step, key),
            self.folder / PARTIAL_FOLDER / f"{key}.{secrets.token_hex(4)}",
        )
        try:
            with _cache_errors(self.folder):
                partial.mkdir(parents=True)
            if not shared.fetch(f"{place}/{MANIFEST_NAME}", partial / MANIFEST_NAME):
                return None
            manifest = _read_manifest(partial)
            if (
                manifest is None
                or manifest["key"] != key
                or not _fetch_files(shared, place, partial, manifest)
            ):
                return None
            with _cache_errors(self.folder):
                self._put_in_place(partial, self.folder / step / key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return self._verified(step, key)

    def _send(self, shared: SharedFolder, entry: CacheEntry) -> None:
        """Copy an entry to where machines share it; its manifest is the last, which says that it is complete."""
        place = _shared_place(entry.step, entry.key)
        if all(shared.send(file.path, f"{place}/{name}") for name, file in entry.files.items()):
            shared.send(entry.folder / MANIFEST_NAME, f"{place}/{MANIFEST_NAME}")

    def _put_in_place(self, partial: Path, final: Path) -> None:
        self._discard(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(final)

    def _make(
        self, step: str, key: str, inputs: Mapping[str, Any], make: Callable[[Path], Facts]
    ) -> CacheEntry:
        final = self.folder / step / key
        partial = self.folder / PARTIAL_FOLDER / f"{key}.{secrets.token_hex(4)}"
        try:
            with _cache_errors(self.folder):
                partial.mkdir(parents=True)
            with _disk_full_errors(self.folder):
                facts = make(partial)
            with _cache_errors(self.folder):
                _write_manifest(partial, step, key, inputs, facts)
                self._put_in_place(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        manifest = _read_manifest(final)
        if manifest is None:
            raise CacheError(f"The cache entry {final} vanished while it was being written; try again.")
        return _entry(step, key, final, manifest, cached=False)

    def _discard(self, final: Path) -> None:
        if final.exists():
            logger.warning("The cache entry %s is damaged; it is made again.", final)
            self._bury(final)

    def _bury(self, final: Path) -> None:
        """Take an entry out of sight in one rename, never half, then remove it at leisure."""
        grave = self.folder / PARTIAL_FOLDER / f"{final.name}.{secrets.token_hex(4)}"
        final.replace(grave)
        shutil.rmtree(grave, ignore_errors=True)

    def _verified(self, step: str, key: str) -> CacheEntry | None:
        folder = self.folder / step / key
        manifest = _read_manifest(folder)
        if manifest is None:
            return None
        entry = _entry(step, key, folder, manifest, cached=True)
        return entry if all(_is_intact(file) for file in entry.files.values()) else None

    # ---------------------------------------------------------------- locks

    def _lock(self, name: str) -> filelock.BaseFileLock:
        with _cache_errors(self.folder):
            (self.folder / LOCK_FOLDER).mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder / LOCK_FOLDER / f"{name}.lock")

    @contextmanager
    def _locked(self, key: str, step: str, progress: Progress | None) -> Iterator[None]:
        lock = self._lock(key)
        while True:
            try:
                with _cache_errors(self.folder):
                    lock.acquire(timeout=LOCK_POLL_SECONDS)
                break
            except filelock.Timeout:
                if progress is not None:
                    progress.report(step, 0.0, "waiting for another run that makes this step")
        try:
            yield
        finally:
            lock.release()

    def _remove_stale_partials(self) -> None:
        """Remove what dead processes left: partial entries and run locks that nobody holds."""
        partials = self.folder / PARTIAL_FOLDER
        for partial in partials.iterdir() if partials.is_dir() else ():
            with self._if_free(partial.name.split(".")[0]) as free:
                if free:
                    shutil.rmtree(partial, ignore_errors=True)
        for lock_file in (self.folder / LOCK_FOLDER).glob("run-*.lock"):
            with self._if_free(lock_file.stem) as free:
                if free:
                    lock_file.unlink(missing_ok=True)

    @contextmanager
    def _if_free(self, name: str) -> Iterator[bool]:
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the named lock, for short work that two processes must not do at once."""
        with self._locked(name, name, None):
            yield

    # ------------------------------------------------------- list and clear

    def list_entries(self) -> list[EntrySummary]:
        """Every entry, oldest first. Reads the manifests only, so it is fast."""
        if not self.folder.is_dir():
            return []
        folders = [
            entry
            for step in self.folder.iterdir()
            if step.is_dir() and step.name not in (PARTIAL_FOLDER, LOCK_FOLDER)
            for entry in step.iterdir()
            if entry.is_dir()
        ]
        return sorted(map(_summary, folders), key=lambda entry: (entry.modified_seconds, entry.key))

    def total_size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.list_entries())

    def clear(self, *, steps: Sequence[str] = (), keys: Sequence[str] = ()) -> list[EntrySummary]:
        """Remove entries and return what was removed; without a choice, all of them.

        ``keys`` are the texts with which an entry's key may begin.

        Raises
        ------
        CacheError
            While another run uses the cache, or when nothing carries a chosen step or key.
        """
        chosen = [
            entry
            for entry in self.list_entries()
            if (not steps or entry.step in steps) and (not keys or entry.key.startswith(tuple(keys)))
        ]
        self._check_choice(chosen, steps, keys)
        with self.exclusive(GATE_LOCK), ExitStack() as stack:
            self._refuse_while_in_use(stack)
            self._remove_stale_partials()
            for entry in chosen:
                (self.folder / PARTIAL_FOLDER).mkdir(exist_ok=True)
                self._bury(entry.folder)
                (self.folder / LOCK_FOLDER / f"{entry.key}.lock").unlink(missing_ok=True)
        return chosen

    def _check_choice(self, chosen: list[EntrySummary], steps: Sequence[str], keys: Sequence[str]) -> None:
        entries = self.list_entries()
        for step in steps:
            if not any(entry.step == step for entry in entries):
                present = ", ".join(sorted({entry.step for entry in entries})) or "nothing"
                raise CacheError(f"The cache holds no step named {step!r}; it holds {present}.")
        for key in keys:
            if not any(entry.key.startswith(key) for entry in chosen):
                raise CacheError(f"The cache holds no entry whose key begins with {key!r}.")

    def _refuse_while_in_use(self, stack: ExitStack) -> None:
        """Take every run's lock for as long as ``stack`` lives, or refuse."""
        for lock_file in (self.folder / LOCK_FOLDER).glob("run-*.lock"):
            if not stack.enter_context(self._if_free(lock_file.stem)):
                raise CacheError(
                    "The cache is in use by another run, so nothing was removed; try again when it has ended."
                )


# ------------------------------------------------------------------- shared


def _shared_place(step: str, key: str) -> str:
    return f"steps/{step}/{key}"


def _fetch_files(shared: SharedFolder, place: str, folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Copy the files of a manifest into ``folder``; whether all came as the manifest has them."""
    for name, record in manifest["files"].items():
        file = CachedFile(folder / Path(name).name, str(record["sha256"]), int(record["size_bytes"]))
        if not shared.fetch(f"{place}/{name}", file.path) or not _is_intact(file):
            return False
    return True


# ---------------------------------------------------------------- manifests


def _write_manifest(folder: Path, step: str, key: str, inputs: Mapping[str, Any], facts: Facts) -> None:
    files = {
        path.name: {"sha256": file_hash(path), "size_bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    content = {"step": step, "key": key, "inputs": _plain(inputs), "facts": facts, "files": files}
    manifest = {"content": content, "sha256": _content_hash(content)}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _content_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest's content, or None when there is none or a byte of it is wrong."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        content: dict[str, Any] = manifest["content"]
        return content if manifest["sha256"] == _content_hash(content) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(step: str, key: str, folder: Path, content: Mapping[str, Any], *, cached: bool) -> CacheEntry:
    files = {
        name: CachedFile(folder / name, str(record["sha256"]), int(record["size_bytes"]))
        for name, record in content["files"].items()
    }
    return CacheEntry(step, key, folder, files, dict(content["facts"]), cached)


def _is_intact(file: CachedFile) -> bool:
    try:
        return file.path.stat().st_size == file.size_bytes and file_hash(file.path) == file.sha256
    except OSError:
        return False


def _summary(folder: Path) -> EntrySummary:
    content = _read_manifest(folder)
    files = tuple(sorted(path for path in folder.iterdir() if path.name != MANIFEST_NAME))
    return EntrySummary(
        step=folder.parent.name,
        key=folder.name,
        folder=folder,
        size_bytes=sum(path.stat().st_size for path in files),
        modified_seconds=folder.stat().st_mtime,
        complete=content is not None,
        inputs=dict(content["inputs"]) if content else {},
        files=files,
    )


@contextmanager
def _disk_full_errors(folder: Path) -> Iterator[None]:
    """Tell a full disk in one sentence; other errors pass."""
    try:
        yield
    except (OSError, AudioError) as error:
        # Who writes audio says what went wrong in a sentence about a file that no user knows.
        cause = error.__cause__ if isinstance(error, AudioError) else error
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise CacheError(
                f"The disk of the cache folder {folder} is full; free some space with `urvc cache clear`, "
                "or move the folder with URVC_AUDIO_DIR."
            ) from error
        raise


@contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    """Tell a full disk, or a folder that cannot be written, in one sentence; other errors pass."""
    try:
        with _disk_full_errors(folder):
            yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise CacheError(
                f"The cache folder {folder} cannot be written ({error.strerror}); "
                "move it with URVC_AUDIO_DIR."
            ) from error
        raise

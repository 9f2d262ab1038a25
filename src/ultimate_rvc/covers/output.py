"""The finished cover's file: its name, and putting it there in one step."""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import shutil
from pathlib import Path

from ultimate_rvc.covers.cache import CachedFile, StepCache
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.covers.sources import file_title
from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import output_dir

OUTPUT_LOCK = "output"


def check_output(settings: CoverSettings) -> None:
    """Find out before hours of work whether the cover can be written.

    Raises
    ------
    SettingError
        When the output is a folder, its folder does not exist, or cannot be written.
    """
    path = settings.output_path
    if path is None:
        _check_writable(output_dir(), "the output folder", "move it with URVC_AUDIO_DIR", make=True)
        return
    if path.is_dir():
        raise SettingError(f"--output {path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise SettingError(f"--output {path}: there is no folder {path.parent}; make it first.")
    _check_writable(path.parent, "the folder of --output", "choose another")


def check_is_not_source(settings: CoverSettings, original: Path | None) -> None:
    """Refuse to replace the song by its cover."""
    output = settings.output_path
    if output is not None and original is not None and output.resolve() == original:
        raise SettingError(f"--output {output} is the song itself; give another name.")


def _check_writable(folder: Path, what: str, way_out: str, *, make: bool = False) -> None:
    probe = folder / f".{secrets.token_hex(6)}.partial"
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(
            f"{what.capitalize()}, {folder}, cannot be written ({error.strerror}); {way_out}."
        ) from None


def place_cover(cover: CachedFile, name: str, settings: CoverSettings, cache: StepCache) -> Path:
    """Copy the finished cover out of the cache: whole, or not at all.

    Parameters
    ----------
    name
        Its name without folder and suffix, where the settings give no path. If the name is taken by
        another file, `` (1)`` and so on is added; a file with these very bytes is left as it is.

    Returns
    -------
    Path
        Where it is.
    """
    folder = settings.output_path.parent if settings.output_path else output_dir()
    folder.mkdir(parents=True, exist_ok=True)
    marker = hashlib.sha256(str(cache.folder).encode()).hexdigest()[:8]
    # One run of this cache at a time, so that two never choose one name.
    with cache.exclusive(OUTPUT_LOCK):
        for left_by_killed_run in folder.glob(f".cover-{marker}-*.partial"):
            left_by_killed_run.unlink(missing_ok=True)
        path = settings.output_path or _free_path(folder, name, cover)
        if _is_same(path, cover):
            return path
        partial = folder / f".cover-{marker}-{secrets.token_hex(6)}.partial"
        try:
            shutil.copyfile(cover.path, partial)
            _sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def cover_name(song: str, voice: str, settings: CoverSettings) -> str:
    """``<song> (<voice> Ver)``, or the name asked for, fit for any file system."""
    if settings.output_name is not None:
        return file_title(settings.output_name)
    return f"{file_title(song)} ({file_title(voice)} Ver)"


def _free_path(folder: Path, name: str, cover: CachedFile) -> Path:
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(1)))
    paths = (folder / f"{name}{cover.path.suffix}" for name in names)
    return next(path for path in paths if not path.exists() or _is_same(path, cover))


def _is_same(path: Path, cover: CachedFile) -> bool:
    return path.is_file() and path.stat().st_size == cover.size_bytes and file_hash(path) == cover.sha256


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())

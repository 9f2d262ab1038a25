"""Where songs come from: a file, a folder of stems, a link, or the demo that ships with the package.

A song is known by the hash of its bytes, never by its name: a copy of it goes into the cache first,
so that a file that is changed, moved or deleted during hours of work harms nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urldefrag

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode_sides, probe
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.covers.cache import CachedFile, CacheEntry, Facts, StepCache
from ultimate_rvc.covers.settings import SourceSettings
from ultimate_rvc.covers.source_checks import check_duration, is_url
from ultimate_rvc.covers.stem_folder import StemFiles, find_stems
from ultimate_rvc.covers.wave_file import write_stem
from ultimate_rvc.errors import AudioError, SourceError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.progress import Progress

DEMO_SOURCE = "demo"
DEMO_FILE = "demo.ogg"
DEMO_TITLE = "Demo"
VERSION = 1

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SongParts:
    """A song that came in parts, made by another tool."""

    vocals: CachedFile
    instrumental: CachedFile
    backing: CachedFile | None


@dataclass(frozen=True)
class Song:
    """A song in the cache, whole or in parts, and the file or folder that it was copied from."""

    title: str
    entry: CacheEntry
    content: CachedFile | SongParts
    original: Path | None = None
    warnings: tuple[str, ...] = ()


def fetch_song(
    source: str, settings: SourceSettings, cache: StepCache, progress: Progress | None = None
) -> Song:
    """Find ``source`` and bring it into the cache.

    ``source`` is a file in any format that PyAV decodes, a folder of stems, an http or https link, or ``demo``.

    Raises
    ------
    SourceError
        When it cannot be found, fetched or understood, or is too long.
    AudioError
        When a file holds no audio that can be decoded.
    """
    if not source.strip():
        raise SourceError("The source is empty; give a file, a folder of stems, a link, or 'demo'.")
    if source == DEMO_SOURCE:
        return _local_song(packaged_assets_dir() / DEMO_FILE, DEMO_TITLE, settings, cache, progress)
    if is_url(source):
        return _linked_song(source.strip(), settings, cache, progress)
    path = Path(source).expanduser()
    if path.is_dir():
        return _stem_song(path, settings, cache, progress)
    if not path.exists():
        raise SourceError(
            f"There is no file {source}; give a file, a folder of stems, a link beginning with "
            "https://, or 'demo'."
        )
    return _local_song(path, path.stem, settings, cache, progress)


# --------------------------------------------------------------- local file


def _local_song(
    path: Path, title: str, settings: SourceSettings, cache: StepCache, progress: Progress | None
) -> Song:
    check_duration(path.name, probe(path).duration_seconds, settings)
    content_hash = _readable_hash(path)

    def copy(folder: Path) -> Facts:
        copied = folder / f"song{path.suffix.lower()}"
        shutil.copyfile(path, copied)
        _check_unchanged(path, file_hash(copied), content_hash)
        return {}

    inputs = {"file": content_hash, "suffix": path.suffix.lower()}
    entry = cache.get("retrieve", VERSION, inputs, copy, progress)
    return Song(title, entry, _only_file(entry), original=path.resolve())


def _readable_hash(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error


def _check_unchanged(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise SourceError(f"{path} changed while it was being read; try again when it is complete.")


def _only_file(entry: CacheEntry) -> CachedFile:
    (file,) = entry.files.values()
    return file


# --------------------------------------------------------------------- link


def _linked_song(url: str, settings: SourceSettings, cache: StepCache, progress: Progress | None) -> Song:
    """A link is known by its text, the only thing known before fetching; what follows, by content."""

    def download(folder: Path) -> Facts:
        from ultimate_rvc.covers.download import download_song

        fetched = download_song(url, folder, settings, progress)
        try:
            seconds = probe(fetched.path).duration_seconds
        except AudioError as error:
            raise SourceError(f"What {url} sent is no audio that can be decoded; check the link.") from error
        check_duration(url, seconds, settings)
        return {"title": fetched.title}

    entry = cache.get("retrieve", VERSION, {"url": urldefrag(url).url}, download, progress)
    check_duration(url, probe(_only_file(entry).path).duration_seconds, settings)
    return Song(str(entry.facts["title"]), entry, _only_file(entry))


# -------------------------------------------------------------------- stems


def _stem_song(folder: Path, settings: SourceSettings, cache: StepCache, progress: Progress | None) -> Song:
    stems = find_stems(folder)
    for path in stems.files:
        check_duration(path.name, probe(path).duration_seconds, settings)
    hashes = {path: _readable_hash(path) for path in stems.files}

    def bring_in(target: Path) -> Facts:
        _write_stems(stems, target, progress)
        for path, expected in hashes.items():
            _check_unchanged(path, file_hash(path), expected)
        return {}

    inputs = {
        "vocals": hashes[stems.vocals],
        "instrumental": sorted(hashes[path] for path in stems.instrumental),
        "backing": hashes[stems.backing] if stems.backing else None,
    }
    entry = cache.get("retrieve", VERSION, inputs, bring_in, progress)
    files = entry.files
    parts = SongParts(files["vocals.wav"], files["instrumental.wav"], files.get("backing.wav"))
    names = ", ".join(path.name for path in stems.unused)
    unused = (f"Not used of the folder {folder.name}: {names}.",) if names else ()
    return Song(folder.resolve().name, entry, parts, original=folder.resolve(), warnings=unused)


def _write_stems(stems: StemFiles, target: Path, progress: Progress | None) -> None:
    progress = progress or Progress()
    progress.report("retrieve", 0.0, "reading the stems")
    write_stem(target / "vocals.wav", *decode_sides(stems.vocals))
    if stems.backing:
        write_stem(target / "backing.wav", *decode_sides(stems.backing))
    # In order of content, so that the sum has the same bytes whatever the files are called.
    parts = sorted(stems.instrumental, key=file_hash)
    total, sample_rate = decode_sides(parts[0])
    for number, path in enumerate(parts[1:], start=1):
        progress.report("retrieve", number / len(parts), path.name)
        part, part_rate = decode_sides(path)
        total = _sum(total, resample(part, part_rate, sample_rate))
    write_stem(target / "instrumental.wav", total, sample_rate)
    progress.report("retrieve", 1.0)


def _sum(first: FloatArray, second: FloatArray) -> FloatArray:
    """The sum of two parts, as long as the longer; a mono part sounds on both sides."""
    channels = max(len(first), len(second))
    total = np.zeros((channels, max(first.shape[1], second.shape[1])), np.float32)
    total[:, : first.shape[1]] += first
    total[:, : second.shape[1]] += second
    return total

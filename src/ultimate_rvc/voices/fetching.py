"""Importing a voice from a link."""

from __future__ import annotations

import hashlib
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ultimate_rvc.assets.connection import Patience
from ultimate_rvc.assets.download import fetch
from ultimate_rvc.assets.links import find_remote_file, is_link
from ultimate_rvc.assets.registry import OFFLINE_VARIABLE, AssetKind, asset, assets, is_offline, require
from ultimate_rvc.assets.remote_file import Asker, RemoteFile, host_of
from ultimate_rvc.errors import DownloadError, SettingError, VoiceFileError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.voice_file.onnx_graph import ONNX_SUFFIX, is_onnx_head
from ultimate_rvc.voices.archives import MAX_UNPACKED_BYTES, is_plain_archive
from ultimate_rvc.voices.files import INDEX_SUFFIX, in_users_words
from ultimate_rvc.voices.finding import VoiceRef
from ultimate_rvc.voices.importing import import_voice
from ultimate_rvc.voices.locking import NameTakenError, refuse_taken_name
from ultimate_rvc.voices.names import MAX_NAME_BYTES, checked_name

DOWNLOADS_FOLDER = ".downloads"
KEPT_DAYS = 7  # of a download that broke off: after that nobody goes on with it
DAY_SECONDS = 86_400
SHA256_LETTERS = 64
SAFETENSORS_START = 9  # the header's length in 8 bytes, and the brace it begins with
DOWNLOAD_SHARE = 0.95  # of the progress
FALLBACK_NAME = "voice"
ADVICE = "check the link, or download the file in a browser and import it"


def import_voice_from_url(
    url: str,
    name: str | None = None,
    index: Path | str | None = None,
    *,
    sha256: str | None = None,
    allow_local: bool = True,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> VoiceRef:
    """Download a voice and bring it into the library.

    A download that breaks off is continued by the next call with the same link. It is
    checked by size and SHA-256 where the site states them (Hugging Face, pixeldrain) or ``sha256``
    does, and read like any other file: what is no voice never gets into the library, and
    is deleted.

    Parameters
    ----------
    url : str
        A link as people share it: to a file on Hugging Face (or to a repository with one voice), Google Drive
        or pixeldrain, or any https link to a ``.pth``, ``.safetensors``, ``.onnx`` or ``.zip``.
    name : str, optional
        By default that of the file.
    index : path or link, optional
        Its index.
    sha256 : str, optional
        What the file must have, 64 hexadecimal digits.
    allow_local : bool
        Whether links may lead to this machine and its network; False for a page that others reach.
    progress : Progress, optional
        Its ``cancel`` ends the download and keeps what has come.

    Raises
    ------
    DownloadError
        The file is not there, not public or not what was expected, or ``URVC_OFFLINE`` is set.
    VoiceFileError, SettingError
        As :func:`~ultimate_rvc.voices.importing.import_voice`.
    CancelledError
        ``progress`` was cancelled.
    """
    if is_offline():
        raise DownloadError(
            f"{OFFLINE_VARIABLE} forbids downloading: unset it, or download the file yourself and import it."
        )
    progress, library = progress or Progress(), voice_models_dir()
    expected = _checked_sha256(sha256)
    if name is not None and library.is_dir():
        refuse_taken_name(checked_name(name), library)  # known before anything is downloaded
    asker = Asker(allow_local, patience or Patience(), progress)
    found = _with_sha256(find_remote_file(url, asker), expected)
    beside = _remote_index(index, found, asker)
    _forget_old_downloads(library)
    folder = library / DOWNLOADS_FOLDER / _key(url, found)
    downloads = _Downloads(folder, asker, progress, [found, *([beside] if beside else [])])
    model = downloads.fetch(found)
    local_index = downloads.fetch(beside) if beside is not None else index
    labels = {model: f"{found.page} ({model.name})"}
    if beside is not None and isinstance(local_index, Path):
        labels[local_index] = f"{beside.page} ({local_index.name})"
    progress.report("import voice", DOWNLOAD_SHARE)
    try:
        imported = import_voice(model, name, local_index, source={"url": found.page})
    except NameTakenError:
        raise  # the file is good: the next call, with another name, takes it from here
    except (VoiceFileError, SettingError) as error:
        if isinstance(error, VoiceFileError):
            shutil.rmtree(folder, ignore_errors=True)
        raise type(error)(in_users_words(str(error), labels)) from error
    shutil.rmtree(folder, ignore_errors=True)
    progress.report("import voice", 1.0)
    return replace(imported, warnings=tuple(in_users_words(each, labels) for each in imported.warnings))


def known_voices() -> list[str]:
    """Names of the published voices in the table of models, which :func:`import_known_voice` takes."""
    return [known.name for known in assets().values() if known.kind is AssetKind.VOICE]


def import_known_voice(
    asset_name: str, name: str | None = None, *, progress: Progress | None = None
) -> VoiceRef:
    """Bring a published voice of the table of models into the library, fetched and checked if needed.

    ``asset_name`` is one of :func:`known_voices`; ``name``, in the library, is by default that of the file.

    Raises
    ------
    SettingError
        There is no such voice in the table.
    AssetMissingError, DownloadError
        It is not here and could not be fetched.
    VoiceFileError
        The name is taken.
    """
    known = asset(asset_name)
    if known.kind is not AssetKind.VOICE:
        raise SettingError(f"{asset_name!r} is no voice; there are {', '.join(known_voices())}.")
    require(asset_name, progress)
    model = next(file.path for file in known.files if file.path.suffix != INDEX_SUFFIX)
    return import_voice(model, name, source={"asset": asset_name})


class _Downloads:
    """The files of one import, fetched one after the other into a folder of their own."""

    def __init__(self, folder: Path, asker: Asker, progress: Progress, files: Sequence[RemoteFile]) -> None:
        self._folder, self._asker, self._progress = folder, asker, progress
        self._total = len(files)
        self._done = 0

    def fetch(self, file: RemoteFile) -> Path:
        """Where a file lies when it is complete, under a name that says what it is."""
        label = _safe_stem(file.file_name) if file.file_name else host_of(file.url)
        share = DOWNLOAD_SHARE / self._total
        part = self._progress.part(f"download {label}", self._done * share, (self._done + 1) * share)
        place = self._folder / str(self._done)
        self._done += 1
        if kept := _complete(place):  # a complete one whose name was taken
            return kept
        raw = place / "download"
        told = fetch(
            [file.url],
            raw,
            label=label,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            max_bytes=MAX_UNPACKED_BYTES,
            progress=part,
            patience=self._asker.patience,
            manners=file.manners,
            advice=ADVICE,
        )
        named = place / "complete" / f"{_safe_stem(told or file.file_name)}{_suffix_by_content(raw, file)}"
        named.parent.mkdir(exist_ok=True)
        raw.replace(named)
        return named


def _complete(place: Path) -> Path | None:
    folder = place / "complete"
    return next(iter(folder.iterdir()), None) if folder.is_dir() else None


def _remote_index(index: Path | str | None, found: RemoteFile, asker: Asker) -> RemoteFile | None:
    """The index to download, if it is not a file on this machine."""
    if index is None:
        return found.index
    return find_remote_file(index, asker) if isinstance(index, str) and is_link(index) else None


def _checked_sha256(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    digest = sha256.strip().lower()
    if len(digest) != SHA256_LETTERS or set(digest) - set("0123456789abcdef"):
        raise SettingError(f"sha256 is {sha256[:80]!r}, but must be {SHA256_LETTERS} hexadecimal digits.")
    return digest


def _with_sha256(file: RemoteFile, expected: str | None) -> RemoteFile:
    if expected is None or file.sha256 == expected:
        return file
    if file.sha256 is not None:
        raise DownloadError(
            f"{file.page} has the SHA-256 {file.sha256[:12]}..., not {expected[:12]}...: it is another file."
        )
    return replace(file, sha256=expected)


def _suffix_by_content(path: Path, file: RemoteFile) -> str:
    """What kind of file came, by its bytes: names on the web are often wrong or missing."""
    claimed = PurePosixPath(file.file_name or "").suffix.lower()
    if claimed == INDEX_SUFFIX:
        return claimed
    if is_plain_archive(path):
        return ".zip"
    with path.open("rb") as content:
        start = content.read(SAFETENSORS_START)
    header_bytes = int.from_bytes(start[:8], "little")
    if start[8:] == b"{" and header_bytes < path.stat().st_size:
        return ".safetensors"
    if is_onnx_head(start):
        return ONNX_SUFFIX
    if zipfile.is_zipfile(path) or start[:1] == b"\x80":
        return ".pth"
    return claimed or ".pth"  # whatever it is, reading it as a voice will tell


def _safe_stem(file_name: str | None) -> str:
    """A name for a voice from what a server calls its file."""
    last = (file_name or "").replace("\\", "/").rpartition("/")[2]
    stem = PurePosixPath(last).stem if PurePosixPath(last).suffix else last
    kept = "".join(letter for letter in stem if letter.isprintable() and letter not in ':*?"<>|')
    short = kept.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", errors="ignore").strip(" .")
    return short or FALLBACK_NAME


def _key(url: str, file: RemoteFile) -> str:
    """What tells one download from another; the link itself, since a page's name may hide its query."""
    return hashlib.sha256(f"{url.strip()} {file.sha256}".encode()).hexdigest()[:16]


def _forget_old_downloads(library: Path) -> None:
    folder = library / DOWNLOADS_FOLDER
    if not folder.is_dir():
        return
    for download in folder.iterdir():
        latest = max(path.stat().st_mtime for path in (download, *download.rglob("*")))
        if time.time() - latest > KEPT_DAYS * DAY_SECONDS:
            shutil.rmtree(download, ignore_errors=True)

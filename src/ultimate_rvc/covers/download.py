"""Songs from the web, through yt-dlp: the stream as it is sent, decoded later without ffmpeg.

Imported only where a link is followed: most songs are files, and yt-dlp is large.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import LoadError
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, SSLError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    GeoRestrictedError,
    UnavailableVideoError,
    UnsupportedError,
    YoutubeDLError,
)

from ultimate_rvc.assets.registry import OFFLINE_VARIABLE, is_offline
from ultimate_rvc.covers.settings import SourceSettings
from ultimate_rvc.covers.source_checks import check_duration
from ultimate_rvc.errors import SourceError
from ultimate_rvc.files import NO_ROOM
from ultimate_rvc.progress import Progress

logger = logging.getLogger(__name__)

MAX_DOWNLOAD_BYTES = 2 << 30  # an hour of stereo at 192 kHz and 24 bits is about this
RETRIES = 2
SIGN_IN_WORDS = ("private", "sign in", "log in", "login", "members-only", "confirm your age", "cookies")
EMPTY_WORDS = ("did not get any data blocks", "downloaded file is empty")
BROKEN_WORDS = ("bytes read",)
NO_AUDIO_WORDS = ("no video formats", "requested format is not available", "no formats", "no media")


@dataclass(frozen=True)
class Download:
    """A stream on disk and what its site calls it."""

    path: Path
    title: str


def download_song(
    url: str, folder: Path, settings: SourceSettings, progress: Progress | None = None
) -> Download:
    """Fetch the best audio stream behind ``url`` into ``folder``.

    Raises
    ------
    SourceError
        In one sentence: no network or ``URVC_OFFLINE`` set, not http, nothing there, private, a
        playlist, live, too long, no audio.
    """
    _check_may_download(url, settings)
    progress = progress or Progress()
    progress.report("retrieve", 0.0, "looking at the page")
    try:
        with YoutubeDL(_options(folder, settings, progress)) as ydl:
            information = ydl.extract_info(url, download=False)
            _check_song(url, information, settings)
            progress.check()
            finished = ydl.process_ie_result(information, download=True)
    except (YoutubeDLError, LoadError) as error:
        raise SourceError(_reason(url, error, folder, settings)) from error
    return Download(_downloaded_file(url, folder), str(finished.get("title") or "song"))


def _check_may_download(url: str, settings: SourceSettings) -> None:
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise SourceError(f"{url} cannot be fetched: only http and https links can.")
    if is_offline():
        raise SourceError(
            f"{url} was not fetched because {OFFLINE_VARIABLE} is set; unset it, or give a local file."
        )
    if settings.cookiefile is not None and not settings.cookiefile.is_file():
        raise SourceError(
            f"The cookie file {settings.cookiefile} does not exist; export it from the browser again."
        )


def _options(folder: Path, settings: SourceSettings, progress: Progress) -> dict[str, Any]:
    return {
        "format": "bestaudio/best",  # the file as sent: PyAV decodes it, so no ffmpeg is called
        "paths": {"home": str(folder)},
        "outtmpl": {"default": "song.%(ext)s"},
        "postprocessors": [],
        "fixup": "never",
        "noplaylist": True,
        "extract_flat": "in_playlist",  # a list of a thousand songs is refused without opening each
        "cookiefile": _cookies(settings.cookiefile),
        "socket_timeout": settings.network_timeout_seconds,
        "retries": RETRIES,
        "fragment_retries": RETRIES,
        "extractor_retries": 0,
        "max_filesize": MAX_DOWNLOAD_BYTES,
        "cachedir": False,
        "quiet": True,
        "noprogress": True,
        "logger": _Log(),
        "progress_hooks": [lambda state: _report(state, progress)],
    }


class _Log:
    """Keeps yt-dlp's words off the terminal: what matters becomes an error with a sentence of its own."""

    def debug(self, message: str) -> None:
        logger.debug("%s", message)

    info = warning = error = debug


def _cookies(path: Path | None) -> StringIO | None:
    """The cookies as a stream, since yt-dlp writes to a file it is given by name."""
    return StringIO(path.read_text("utf-8", errors="replace")) if path else None


def _report(state: dict[str, Any], progress: Progress) -> None:
    total = state.get("total_bytes") or state.get("total_bytes_estimate")
    done = state.get("downloaded_bytes") or 0
    progress.report("retrieve", done / total if total else 0.0, f"{done / 1e6:.1f} MB")


def _check_song(url: str, information: dict[str, Any], settings: SourceSettings) -> None:
    """Refuse what is no single song before a byte of it is fetched."""
    if information.get("_type") == "playlist":
        raise SourceError(f"{url} is a list of several recordings; give the link of one of them.")
    if information.get("is_live") or information.get("live_status") == "is_upcoming":
        raise SourceError(f"{url} is a live stream, which has no end; give a finished recording.")
    check_duration(url, information.get("duration"), settings)
    formats = information.get("requested_formats") or [information]
    if all(part.get("acodec") == "none" for part in formats):
        raise SourceError(f"{url} has no audio, only pictures.")


def _downloaded_file(url: str, folder: Path) -> Path:
    files = [path for path in folder.glob("song.*") if path.suffix not in (".part", ".ytdl")]
    if not files:
        raise SourceError(f"{url} is larger than {MAX_DOWNLOAD_BYTES >> 30} GiB, so it was not fetched.")
    return files[0]


def _reason(url: str, error: BaseException, folder: Path, settings: SourceSettings) -> str:
    """One sentence for what yt-dlp raised: by the kind of its cause, else by its words."""
    causes = tuple(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    for cause in causes:
        if isinstance(cause, HTTPError):
            return _http_reason(url, cause.status)
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return (
                f"There is no room for {url} in {folder} ({cause.strerror}); "
                "make room there, or move it with URVC_AUDIO_DIR."
            )
    if caused_by(LoadError):
        return (
            f"The cookie file {settings.cookiefile} is not in Netscape format; "
            "export it from the browser again."
        )
    if caused_by(UnsupportedError):
        return f"{url} is a page without audio that can be fetched; give the link of the recording itself."
    if caused_by(GeoRestrictedError):
        return f"{url} is not offered in this country."
    if caused_by(SSLError):
        return f"{url} could not be fetched: its server's certificate is not valid."
    if caused_by(IncompleteRead, ContentTooShortError):
        return _broken(url)
    if caused_by(TransportError):
        return f"{url} could not be reached; check the link and the network, or give a local file."
    return _worded_reason(url, causes)


def _http_reason(url: str, status: int) -> str:
    if status in (401, 403):
        return (
            f"{url} is private or needs a sign-in (HTTP {status}); "
            "give the browser's cookies as the cookiefile."
        )
    if status in (404, 410):
        return f"There is nothing at {url} (HTTP {status}); check the link."
    if status == 429:
        return f"The server of {url} refuses more requests for now (HTTP 429); try again later."
    return f"The server of {url} answered with an error (HTTP {status}); try again later."


def _broken(url: str) -> str:
    return f"The connection broke before all of {url} was there; try again."


def _worded_reason(url: str, causes: tuple[BaseException, ...]) -> str:
    words = str(getattr(causes[-1], "orig_msg", causes[-1])).removeprefix("ERROR: ").split("\n")[0]
    if any(part in words.lower() for part in SIGN_IN_WORDS):
        return f"{url} is private or needs a sign-in; give the browser's cookies as the cookiefile."
    if any(part in words.lower() for part in EMPTY_WORDS):
        return f"{url} sent an empty file."
    if any(part in words.lower() for part in BROKEN_WORDS):
        return _broken(url)
    if any(part in words.lower() for part in NO_AUDIO_WORDS):
        return f"{url} has no audio that can be fetched."
    return f"{url} could not be fetched: {words.split(';')[0].rstrip('.')}."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies beneath it: yt-dlp keeps causes in attributes of its own."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        if isinstance(current, DownloadError | UnavailableVideoError) and getattr(current, "exc_info", None):
            current = current.exc_info[1]
        else:
            current = getattr(current, "cause", None) or current.__cause__ or current.__context__

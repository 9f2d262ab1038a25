"""A file behind a link, and the questions that find out about it before it is fetched."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ultimate_rvc.assets.connection import USER_AGENT, Manners, Patience, new_session, run_beside, wait
from ultimate_rvc.assets.transfer import TRANSIENT_STATUSES
from ultimate_rvc.errors import DownloadError
from ultimate_rvc.progress import Progress

MAX_PAGE_BYTES = 4 << 20
LOOPBACK_NAMES = ("localhost",)
VOICE_SUFFIXES = (".zip", ".pth", ".safetensors", ".onnx")
INDEX_SUFFIX = ".index"
ONNX_SUFFIX = ".onnx"
SHOWN_NAMES = 5


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched; what is None is not known before."""

    url: str
    page: str
    """The link that people share, without secrets."""
    file_name: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    manners: Manners = field(default_factory=Manners)
    index: RemoteFile | None = None
    """The index that lies beside it where the link was to a folder of files."""


@dataclass(frozen=True)
class Answer:
    """The head of an answer and, where it is text, its body."""

    url: str
    status: int
    headers: dict[str, str]
    text: str
    cookies: Any

    def json(self) -> Any:
        """The body as JSON.

        Raises
        ------
        DownloadError
            It is none.
        """
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise DownloadError(f"{host_of(self.url)} answered with something that is no JSON.") from error


@dataclass(frozen=True)
class Asker:
    """Puts questions to a site, patiently, and goes only where it may."""

    allow_local: bool = True
    patience: Patience = field(default_factory=Patience)
    progress: Progress | None = None

    @property
    def manners(self) -> Manners:
        """Those of a download of this asker."""
        return Manners(check_url=self.check_url, refuse_pages=True)

    def check_url(self, url: str) -> None:
        """Raise :class:`DownloadError` for an address that must not be asked."""
        check_url(url, allow_local=self.allow_local)

    def ask(self, url: str, *, method: str = "GET", follow: bool = True) -> Answer:
        """The answer to one question; a body that is no text is not read.

        Raises
        ------
        DownloadError
            The site is not reached, or only answers that it is busy.
        """
        import requests

        self.check_url(url)
        progress, wait_seconds = self.progress or Progress(), self.patience.wait_seconds
        told = "it does not answer"
        for attempt in range(self.patience.attempts):
            if attempt:
                wait(wait_seconds, progress)
                wait_seconds *= 2
            progress.check()
            try:
                answer = run_beside(lambda: self._ask_once(url, method, follow), progress)
            except requests.exceptions.Timeout:
                continue
            except requests.exceptions.TooManyRedirects:
                raise DownloadError(f"{url} leads in circles: check the link.") from None
            except requests.exceptions.RequestException as error:
                told = "there is no connection"
                if isinstance(error, requests.exceptions.SSLError):
                    raise DownloadError(f"{host_of(url)} has a certificate that is not trusted.") from error
                continue
            if answer.status not in TRANSIENT_STATUSES:
                return answer
            told = f"it answers {answer.status}"
        raise DownloadError(f"{host_of(url)} cannot be asked for the file ({told}): try again later.")

    def _ask_once(self, url: str, method: str, follow: bool) -> Answer:
        timeouts = (self.patience.connect_seconds, self.patience.stall_seconds)
        headers = {"User-Agent": USER_AGENT}
        with (
            new_session(self.manners) as session,
            session.request(
                method, url, headers=headers, stream=True, timeout=timeouts, allow_redirects=follow
            ) as response,
        ):
            kind = response.headers.get("Content-Type", "")
            is_text = "html" in kind or "json" in kind
            is_attached = "attachment" in response.headers.get("Content-Disposition", "")
            is_read = is_text and not is_attached
            body = response.raw.read(MAX_PAGE_BYTES, decode_content=True) if is_read else b""
            text = body.decode(response.encoding or "utf-8", errors="replace")
            headers, cookies = dict(response.headers), session.cookies.copy()
            return Answer(response.url, response.status_code, headers, text, cookies)


def check_url(url: str, *, allow_local: bool) -> None:
    """Raise unless a link may be followed: https, and http only to this machine.

    Without ``allow_local``, addresses of this machine and its network are not asked: they may hold what
    only this machine may see, and not the others who reach a page.

    Raises
    ------
    DownloadError
        It may not; the sentence says why.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise DownloadError(f"{url[:200]!r} is no link.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise DownloadError(f"{url[:200]!r} is no link to a file: it begins with https://.")
    if not allow_local and (host in LOOPBACK_NAMES or not all(found.is_global for found in _addresses(host))):
        raise DownloadError(f"{host} is an address of this machine or its network, which is not asked.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise DownloadError(f"{url[:200]!r} is not protected on its way; use its https:// link.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What a host's name stands for; nothing where it is not known here, as behind a proxy."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def host_of(url: str) -> str:
    """The host of a link, without a user's name or password."""
    return urlsplit(url).hostname or url[:200]


def shown_url(url: str) -> str:
    """A link as it may be written down: without a user's name, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def choose_voice(files: Sequence[RemoteFile], page: str) -> RemoteFile:
    """The one voice of a page that lists files, with the index beside it.

    Raises
    ------
    DownloadError
        There is none, or there are several; the sentence names them.
    """
    voices = [file for file in files if _suffix(file) in VOICE_SUFFIXES and not _begins(file, "d_")]
    # Beside its weights, an .onnx is the same voice once more, or a pitch model.
    voices = [file for file in voices if _suffix(file) != ONNX_SUFFIX] or voices
    if not voices:
        raise DownloadError(f"{page} lists no voice: no file there ends in {', '.join(VOICE_SUFFIXES)}.")
    if len(voices) > 1:
        names = ", ".join(str(file.file_name) for file in voices[:SHOWN_NAMES])
        more = ", ..." if len(voices) > SHOWN_NAMES else ""
        raise DownloadError(
            f"{page} lists several voices ({names}{more}): open the one you mean and copy its link."
        )
    (voice,) = voices
    indexes = [file for file in files if _suffix(file) == INDEX_SUFFIX and not _begins(file, "trained_")]
    if _suffix(voice) == ".zip" or len(indexes) != 1:
        return voice
    return replace(voice, index=indexes[0])


def _suffix(file: RemoteFile) -> str:
    return PurePosixPath(file.file_name or "").suffix.lower()


def _begins(file: RemoteFile, start: str) -> bool:
    return PurePosixPath(file.file_name or "").name.lower().startswith(start)

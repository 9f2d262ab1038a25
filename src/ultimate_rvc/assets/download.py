"""Fetch a file over HTTP so that only complete and right bytes ever get its name.

A download goes to a hidden partial file beside its destination and is resumed from there after a
break, within one call or in a later one. Mirrors are tried in turn.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from ultimate_rvc import __version__
from ultimate_rvc.errors import DownloadError
from ultimate_rvc.files import file_hash
from ultimate_rvc.progress import Progress

if TYPE_CHECKING:
    from requests import Response

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 14  # what is lost at most when a connection breaks off
MEGABYTE = 1e6
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
LOCK_POLL_SECONDS = 0.5  # how soon a wait for another download notices a cancellation
DISK_FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to go on after a break without a new byte."""

    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    attempts: int = 4
    wait_seconds: float = 1.0  # before the second attempt; doubled before each further one


@dataclass(frozen=True)
class _Order:
    """What to fetch: the expected bytes, where they are collected, and how patiently."""

    partial: Path
    size_bytes: int | None
    sha256: str | None
    label: str
    progress: Progress
    patience: Patience


class _MirrorError(Exception):
    """This mirror will not serve the file."""


class _BreakError(Exception):
    """The transfer broke off; asking again may continue it."""


def fetch(
    urls: Sequence[str],
    destination: Path,
    *,
    label: str,
    size_bytes: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> None:
    """Download ``destination`` from the first of ``urls`` that serves the right bytes.

    Parameters
    ----------
    label
        What the file is called in progress and errors.
    size_bytes, sha256
        The bytes expected; what is None is not checked.

    Raises
    ------
    DownloadError
        No mirror served the right bytes, or there is no room on the disk.
    CancelledError
        ``progress`` was cancelled; what has come so far is kept for the next call.
    """
    partial = destination.with_name(f".{destination.name}.{(sha256 or 'download')[:12]}.partial")
    order = _Order(partial, size_bytes, sha256, label, progress or Progress(), patience or Patience())
    failures: list[str] = []
    with _disk_errors(label, destination), _alone(destination, order.progress):
        if _is_there_already(destination, order):  # another process fetched it while we waited
            return
        for url in urls:
            try:
                _fetch_from(url, order)
            except _MirrorError as error:
                log.info("%s: %s: %s", label, url, error)
                failures.append(f"{urlsplit(url).netloc} ({error})")
                continue
            partial.replace(destination)
            return
    raise DownloadError(
        f"'{label}' could not be downloaded from {' or '.join(failures)}: check the network and "
        f"try again, or put {urls[0]} at {destination} yourself."
    )


@contextmanager
def _alone(destination: Path, progress: Progress) -> Iterator[None]:
    """Keep two processes from fetching one file at once; the second waits for the first."""
    from filelock import FileLock, Timeout

    destination.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(destination.with_name(f".{destination.name}.lock"))
    while not lock.is_locked:
        progress.check()
        try:
            lock.acquire(timeout=LOCK_POLL_SECONDS)
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk_errors(label: str, destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = destination.parent
        if error.errno in DISK_FULL_ERRORS:
            raise DownloadError(
                f"The disk is full while downloading '{label}' to {folder}: make room."
            ) from error
        raise DownloadError(f"'{label}' cannot be written to {folder}: {error.strerror or error}.") from error


def _is_there_already(destination: Path, order: _Order) -> bool:
    return order.sha256 is not None and destination.is_file() and file_hash(destination) == order.sha256


def _fetch_from(url: str, order: _Order) -> None:
    """Complete and check the partial file; one pieced together wrongly is fetched again in one go."""
    pieces = _transfer(url, order)
    wrong = _what_is_wrong(order)
    if wrong and pieces > 1:
        log.info("%s: the pieces do not fit together (%s); starting again", order.label, wrong)
        order.partial.unlink(missing_ok=True)
        _transfer(url, order)
        wrong = _what_is_wrong(order)
    if wrong:
        order.partial.unlink(missing_ok=True)
        raise _MirrorError(wrong)


def _transfer(url: str, order: _Order) -> int:
    """Ask until the partial file is complete, as long as each few attempts bring something new.

    Returns how many pieces it was put together from, what was there before being one.
    """
    pieces = 1 if _size(order.partial) else 0
    fruitless, wait_seconds = 0, order.patience.wait_seconds
    while True:
        before = _size(order.partial)
        try:
            _ask_once(url, order)
            return pieces + 1
        except _BreakError as error:
            is_fruitful = _size(order.partial) > before
            pieces += is_fruitful
            fruitless = 0 if is_fruitful else fruitless + 1
            if fruitless >= order.patience.attempts:
                raise _MirrorError(str(error)) from error
            log.info("%s: %s; going on from byte %d", order.label, error, _size(order.partial))
        if fruitless:
            _wait(wait_seconds, order.progress)
            wait_seconds *= 2


def _ask_once(url: str, order: _Order) -> None:
    import requests
    from urllib3.exceptions import MaxRetryError

    start = _size(order.partial)
    if order.size_bytes is not None and start >= order.size_bytes:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": f"ultimate-rvc-fast/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    timeouts = (order.patience.connect_seconds, order.patience.stall_seconds)
    order.progress.check()
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeouts) as response:
            _receive(response, start, order)
    except requests.exceptions.ReadTimeout as error:
        raise _BreakError(f"no answer for {order.patience.stall_seconds:g} s") from error
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise _BreakError("the connection broke off") from error
    except requests.exceptions.ConnectionError as error:
        if error.args and isinstance(error.args[0], MaxRetryError):  # no connection was ever made
            raise _MirrorError("no connection") from error
        raise _BreakError("the connection broke off or stalled") from error
    except requests.exceptions.RequestException as error:
        raise _MirrorError(f"the request failed: {error}") from error


def _receive(response: Response, start: int, order: _Order) -> None:
    """Append the body of one answer to the partial file, or replace it when the server starts over."""
    start = _accepted_start(response, start, order)
    announced = response.headers.get("Content-Length")
    total = start + int(announced) if announced and announced.isdigit() else None
    if total is not None and order.size_bytes is not None and total != order.size_bytes:
        raise _MirrorError(f"it offers {total} bytes instead of {order.size_bytes}")
    expected = order.size_bytes or total
    if expected is not None:
        _require_room(order, expected - start)
    with order.partial.open("ab" if start else "wb") as file:
        _copy(response, file, start, expected, order)
    if expected is not None and _size(order.partial) < expected:
        raise _BreakError("the connection broke off")


def _accepted_start(response: Response, start: int, order: _Order) -> int:
    """From which byte on this answer continues the file."""
    status = response.status_code
    if status == 416:  # the part we have is no beginning of this file
        order.partial.unlink(missing_ok=True)
        raise _BreakError("the server cannot continue the part that is there")
    if status in TRANSIENT_STATUSES:
        raise _BreakError(f"{status} {response.reason}")
    if status == 200:
        return 0
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return start
    if status == 206:
        order.partial.unlink(missing_ok=True)
        raise _BreakError("the server continued at another place")
    raise _MirrorError(f"{status} {response.reason}")


def _copy(response: Response, file: BinaryIO, start: int, expected: int | None, order: _Order) -> None:
    done = start
    for block in response.iter_content(BLOCK_BYTES):
        file.write(block)
        done += len(block)
        if order.size_bytes is not None and done > order.size_bytes:
            raise _MirrorError(f"it sends more than the {order.size_bytes} bytes of the file")
        of_total = f" of {expected / MEGABYTE:.1f}" if expected else ""
        fraction = done / expected if expected else 0.0
        order.progress.report(f"download {order.label}", fraction, f"{done / MEGABYTE:.1f}{of_total} MB")
    file.flush()
    os.fsync(file.fileno())


def _require_room(order: _Order, missing_bytes: int) -> None:
    free = shutil.disk_usage(order.partial.parent).free
    if free < missing_bytes:
        raise DownloadError(
            f"'{order.label}' needs {missing_bytes / MEGABYTE:.0f} MB more and {order.partial.parent} has "
            f"{free / MEGABYTE:.0f} MB free: make room, or move the folder with URVC_MODELS_DIR."
        )


def _what_is_wrong(order: _Order) -> str | None:
    size = _size(order.partial)
    if order.size_bytes is not None and size != order.size_bytes:
        return f"it sent {size} bytes instead of {order.size_bytes}"
    if order.sha256 is None:
        return None
    digest = file_hash(order.partial)
    return None if digest == order.sha256 else f"it sent other bytes, with SHA-256 {digest[:12]}…"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _wait(seconds: float, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        progress.check()
        time.sleep(min(left, 0.1))

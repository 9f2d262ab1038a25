"""Fetch a file over HTTP so that only complete and right bytes ever get its name.

A download goes to a hidden partial file beside its destination and is resumed from there after a
break, within one call or in a later one. Mirrors are tried in turn.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ultimate_rvc.assets.connection import BLOCK_BYTES, Manners, MirrorError, Patience
from ultimate_rvc.assets.transfer import ExcessError, Order, forget, forget_sidecar, size_of, transfer
from ultimate_rvc.errors import DownloadError
from ultimate_rvc.files import file_hash
from ultimate_rvc.progress import Progress

__all__ = ["BLOCK_BYTES", "Manners", "Patience", "fetch", "partial_path"]

log = logging.getLogger(__name__)

LOCK_POLL_SECONDS = 0.5  # how soon a wait for another download notices a cancellation
DISK_FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})


def fetch(
    urls: Sequence[str],
    destination: Path,
    *,
    label: str,
    size_bytes: int | None = None,
    sha256: str | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    patience: Patience | None = None,
    manners: Manners | None = None,
    advice: str | None = None,
) -> str | None:
    """Download ``destination`` from the first of ``urls`` that serves the right bytes.

    Parameters
    ----------
    urls : sequence of str
        Mirrors of each other.
    label : str
        What the file is called in progress and errors.
    size_bytes, sha256 : int, str, optional
        What is None is not checked.
    max_bytes : int, optional
        What sends more is given up.
    advice : str, optional
        What to do when all fails, as the end of the sentence.

    Returns
    -------
    str or None
        What the server calls the file, as it says it: not to be trusted as a path.

    Raises
    ------
    DownloadError
        No mirror served the right bytes, or there is no room on the disk.
    CancelledError
        ``progress`` was cancelled; what has come so far is kept for the next call.
    """
    order = Order(
        partial_path(destination, sha256),
        size_bytes,
        sha256,
        max_bytes,
        label,
        progress or Progress(),
        patience or Patience(),
        manners or Manners(),
    )
    failures: list[str] = []
    with _disk_errors(label, destination), _alone(destination, order.progress):
        if _is_there_already(destination, order):  # another process fetched it while we waited
            return None
        for url in urls:
            try:
                file_name = _fetch_from(url, order)
            except MirrorError as error:
                log.info("%s: %s: %s", label, url, error)
                failures.append(f"{urlsplit(url).netloc.rpartition('@')[2]} ({error})")
                if sha256 is None and url != urls[-1]:  # nothing would tell that the rest belongs to it
                    forget(order.partial)
                continue
            order.partial.replace(destination)
            forget_sidecar(order.partial)
            return file_name
    advice = advice or f"check the network and try again, or put {urls[0]} at {destination} yourself"
    raise DownloadError(f"'{label}' could not be downloaded from {' or '.join(failures)}: {advice}.")


def partial_path(destination: Path, sha256: str | None = None) -> Path:
    """Where a file is collected until it is complete; by its checksum, so that others never mix in."""
    return destination.with_name(f".{destination.name}.{(sha256 or 'download')[:12]}.partial")


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


def _is_there_already(destination: Path, order: Order) -> bool:
    return order.sha256 is not None and destination.is_file() and file_hash(destination) == order.sha256


def _fetch_from(url: str, order: Order) -> str | None:
    """Complete and check the partial file; one pieced together wrongly is fetched again in one go."""
    try:
        pieces, file_name = transfer(url, order)
        wrong = _what_is_wrong(order)
        if wrong and pieces > 1:
            log.info("%s: the pieces do not fit together (%s); starting again", order.label, wrong)
            forget(order.partial)
            _, file_name = transfer(url, order)
            wrong = _what_is_wrong(order)
    except ExcessError:
        forget(order.partial)
        raise
    if wrong:
        forget(order.partial)
        raise MirrorError(wrong)
    return file_name


def _what_is_wrong(order: Order) -> str | None:
    size = size_of(order.partial)
    if order.size_bytes is not None and size != order.size_bytes:
        return f"it sent {size} bytes instead of {order.size_bytes}"
    if order.sha256 is None:
        return None
    digest = file_hash(order.partial)
    return None if digest == order.sha256 else f"it sent other bytes, with SHA-256 {digest[:12]}…"

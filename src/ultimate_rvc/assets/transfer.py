"""One transfer over HTTP into a partial file: asked for again after a break, from where it broke off."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ultimate_rvc.assets.connection import (
    USER_AGENT,
    BreakError,
    Head,
    Manners,
    MirrorError,
    Patience,
    disposition_name,
    open_answer,
    wait,
)
from ultimate_rvc.errors import DownloadError
from ultimate_rvc.progress import Progress

log = logging.getLogger(__name__)

MEGABYTE = 1e6
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_SIDECAR_BYTES = 1 << 16


@dataclass(frozen=True)
class Order:
    """What to fetch: the expected bytes, where they are collected, and how patiently."""

    partial: Path
    size_bytes: int | None
    sha256: str | None
    max_bytes: int | None
    label: str
    progress: Progress
    patience: Patience
    manners: Manners


class ExcessError(MirrorError):
    """This mirror sends more than the file has."""


@dataclass
class _Sidecar:
    """What is known of a partial file: without a checksum, only the server can say what it belongs to."""

    path: Path
    validator: str | None = None
    file_name: str | None = None
    is_from_before: bool = field(default=True, init=False)

    @classmethod
    def beside(cls, partial: Path) -> _Sidecar:
        path = partial.with_name(f"{partial.name}.json")
        try:
            known = json.loads(path.read_bytes()[:MAX_SIDECAR_BYTES])
            return cls(path, known["validator"], known["file_name"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)

    def note(self, headers: Mapping[str, str]) -> None:
        etag = headers.get("ETag", "")
        strong_etag = etag if etag.startswith('"') else None  # W/"..." may stand for other bytes
        self.validator = strong_etag or headers.get("Last-Modified")
        self.file_name = disposition_name(headers) or self.file_name
        self.is_from_before = False
        known = {"validator": self.validator, "file_name": self.file_name}
        self.path.write_text(json.dumps(known), encoding="utf-8")


def transfer(url: str, order: Order) -> tuple[int, str | None]:
    """Ask until the partial file is complete, as long as each few attempts bring something new.

    Returns from how many pieces it was put together, what was there before being one, and what the server
    calls the file: not to be trusted.

    Raises
    ------
    MirrorError
        This server will not serve it.
    """
    sidecar = _Sidecar.beside(order.partial)
    if order.sha256 is None and sidecar.validator is None:
        order.partial.unlink(missing_ok=True)  # nobody could say whether the rest would fit
    pieces = 1 if size_of(order.partial) else 0
    fruitless, wait_seconds = 0, order.patience.wait_seconds
    while True:
        before = size_of(order.partial)
        try:
            _ask_once(url, order, sidecar)
            return pieces + 1, sidecar.file_name
        except BreakError as error:
            is_fruitful = size_of(order.partial) > before
            pieces += is_fruitful
            fruitless = 0 if is_fruitful else fruitless + 1
            if fruitless >= order.patience.attempts:
                raise MirrorError(str(error)) from error
            log.info("%s: %s; going on from byte %d", order.label, error, size_of(order.partial))
        if fruitless:
            wait(wait_seconds, order.progress)
            wait_seconds *= 2


def forget(partial: Path) -> None:
    """Throw away what was collected."""
    partial.unlink(missing_ok=True)
    forget_sidecar(partial)


def forget_sidecar(partial: Path) -> None:
    """Throw away what was noted about a partial file."""
    _Sidecar.beside(partial).path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


# --- one request -------------------------------------------------------------------------------


def _ask_once(url: str, order: Order, sidecar: _Sidecar) -> None:
    start = size_of(order.partial)
    if order.size_bytes is not None and start >= order.size_bytes:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    if start:
        headers["Range"] = f"bytes={start}-"
        if order.sha256 is None and sidecar.validator is not None:
            headers["If-Range"] = sidecar.validator  # another file by now is sent from its beginning
    order.progress.check()
    if order.manners.check_url is not None:
        order.manners.check_url(url)
    with open_answer(url, headers, order.patience, order.manners, order.progress) as (head, blocks):
        _receive(head, blocks, start, order, sidecar)


# --- its answer --------------------------------------------------------------------------------


def _receive(head: Head, blocks: Iterator[bytes], start: int, order: Order, sidecar: _Sidecar) -> None:
    """Append the body of one answer to the partial file, or replace it when the server starts over."""
    start = _accepted_start(head, start, order)
    if order.manners.refuse_pages and "html" in head.headers.get("Content-Type", ""):
        raise MirrorError("it answers with a web page, not with a file")
    announced = head.headers.get("Content-Length")
    total = start + int(announced) if announced and announced.isdigit() else None
    if total is not None and order.size_bytes is not None and total != order.size_bytes:
        raise MirrorError(f"it offers {total} bytes instead of {order.size_bytes}")
    _check_limit(total, order)
    expected = order.size_bytes or total
    if expected is not None:
        _require_room(order, expected - start)
    if order.sha256 is None:
        sidecar.note(head.headers)
    with order.partial.open("ab" if start else "wb") as file:
        _copy(blocks, file, start, expected, order)
    if expected is not None and size_of(order.partial) < expected:
        raise BreakError("the connection broke off")


def _accepted_start(head: Head, start: int, order: Order) -> int:
    """From which byte on this answer continues the file."""
    if head.status == 416:  # the part we have is no beginning of this file
        order.partial.unlink(missing_ok=True)
        raise BreakError("the server cannot continue the part that is there")
    if head.status in TRANSIENT_STATUSES:
        raise BreakError(f"{head.status} {head.reason}")
    if head.status == 200:
        return 0
    if head.status == 206 and head.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return start
    if head.status == 206:
        order.partial.unlink(missing_ok=True)
        raise BreakError("the server continued at another place")
    raise MirrorError(f"{head.status} {head.reason}")


def _copy(blocks: Iterator[bytes], file: BinaryIO, start: int, expected: int | None, order: Order) -> None:
    done = start
    for block in blocks:
        file.write(block)
        done += len(block)
        if order.size_bytes is not None and done > order.size_bytes:
            raise ExcessError(f"it sends more than the {order.size_bytes} bytes of the file")
        _check_limit(done, order)
        of_total = f" of {expected / MEGABYTE:.1f}" if expected else ""
        fraction = done / expected if expected else 0.0
        order.progress.report(f"download {order.label}", fraction, f"{done / MEGABYTE:.1f}{of_total} MB")
    file.flush()
    os.fsync(file.fileno())


def _check_limit(size: int | None, order: Order) -> None:
    if size is not None and order.max_bytes is not None and size > order.max_bytes:
        raise ExcessError(f"it sends more than {order.max_bytes / MEGABYTE:.0f} MB, the most that is taken")


def _require_room(order: Order, missing_bytes: int) -> None:
    free = shutil.disk_usage(order.partial.parent).free
    if free < missing_bytes:
        raise DownloadError(
            f"'{order.label}' needs {missing_bytes / MEGABYTE:.0f} MB more and {order.partial.parent} has "
            f"{free / MEGABYTE:.0f} MB free: make room, or move that folder to another disk."
        )

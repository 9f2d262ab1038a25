"""Requests to web servers, each in a thread of its own that hands over what comes.

So whoever waits can be cancelled at any time, also while a server is silent.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any, TypeVar, cast
from urllib.parse import urljoin

from ultimate_rvc import __version__
from ultimate_rvc.progress import Progress

BLOCK_BYTES = 1 << 14  # what is lost at most when a connection breaks off
QUEUED_BLOCKS = 64
POLL_SECONDS = 0.2  # how soon a cancellation is noticed
USER_AGENT = f"ultimate-rvc-fast/{__version__}"

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to go on after a break without a new byte."""

    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    """Without 16 kB more, or without an answer at all."""
    attempts: int = 4
    wait_seconds: float = 1.0  # before the second attempt; doubled before each further one


@dataclass(frozen=True)
class Manners:
    """How to ask: what a site wants to see, and where it may lead."""

    cookies: Any = None
    check_url: Callable[[str], None] | None = None
    """Raises :class:`DownloadError` for an address that must not be asked."""
    refuse_pages: bool = False
    """Whether an answer in HTML is no file but a page about one."""


class MirrorError(Exception):
    """This mirror will not serve the file."""


class BreakError(Exception):
    """The transfer broke off; asking again may continue it."""


@dataclass(frozen=True)
class Head:
    """The beginning of an answer."""

    status: int
    reason: str
    headers: Mapping[str, str]


def wait(seconds: float, progress: Progress) -> None:
    """Sleep, but not through a cancellation."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        progress.check()
        time.sleep(min(left, 0.1))


def run_beside(work: Callable[[], T], progress: Progress) -> T:
    """The result of ``work``, which runs in a thread: a cancellation does not wait for it."""
    outcomes: queue.Queue[tuple[T | None, Exception | None]] = queue.Queue(1)

    def run() -> None:
        try:
            outcomes.put((work(), None))
        except Exception as error:  # raised again where it is waited for
            outcomes.put((None, error))

    threading.Thread(target=run, daemon=True, name="question").start()
    while True:
        progress.check()
        try:
            result, error = outcomes.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return cast("T", result)


def disposition_name(headers: Mapping[str, str]) -> str | None:
    """The file name in an answer's ``Content-Disposition``, as the server says it."""
    given = headers.get("Content-Disposition")
    if not given:
        return None
    message = Message()
    message["Content-Disposition"] = given
    return message.get_filename()


def new_session(manners: Manners) -> Any:
    """A ``requests`` session that goes nowhere ``manners`` forbids, redirects included."""
    import requests

    session = requests.Session()
    if manners.cookies is not None:
        session.cookies.update(manners.cookies)
    if (check_url := manners.check_url) is not None:

        def check(response: Any, *_arguments: Any, **_options: Any) -> None:
            if response.is_redirect:
                check_url(urljoin(response.url, response.headers["Location"]))

        session.hooks["response"].append(check)
    return session


@contextmanager
def open_answer(
    url: str, headers: dict[str, str], patience: Patience, manners: Manners, progress: Progress
) -> Iterator[tuple[Head, Iterator[bytes]]]:
    """The head of a server's answer and the blocks of its body, as they come.

    Raises
    ------
    MirrorError, BreakError
        There is no answer, or none any more; also from the blocks.
    CancelledError
        ``progress`` was cancelled; also from the blocks.
    """
    events: queue.Queue[object] = queue.Queue(QUEUED_BLOCKS)
    stop = threading.Event()
    arguments = (url, headers, patience, manners, events, stop)
    threading.Thread(target=_converse, args=arguments, daemon=True, name="download").start()
    try:
        head = _next_event(
            events, 2 * (patience.connect_seconds + patience.stall_seconds), patience, progress
        )
        if not isinstance(head, Head):
            raise BreakError("the connection broke off")
        yield head, _blocks(events, patience, progress)
    finally:
        stop.set()


def _blocks(events: queue.Queue[object], patience: Patience, progress: Progress) -> Iterator[bytes]:
    # The thread has its own limit; this one is for servers that send a byte now and then.
    limit_seconds = 2 * patience.stall_seconds
    while isinstance(block := _next_event(events, limit_seconds, patience, progress), bytes):
        yield block


def _next_event(
    events: queue.Queue[object], limit_seconds: float, patience: Patience, progress: Progress
) -> object:
    """What comes next: a head, a block, or None at the end. Errors of the connection are raised here."""
    until = time.monotonic() + limit_seconds
    while True:
        progress.check()
        try:
            event = events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if time.monotonic() > until:
                raise BreakError(f"hardly a byte for {patience.stall_seconds:g} s") from None
            continue
        if isinstance(event, BaseException):
            told = _told(event, patience)
            raise told from (None if told is event else event)
        return event


def _converse(
    url: str,
    headers: dict[str, str],
    patience: Patience,
    manners: Manners,
    events: queue.Queue[object],
    stop: threading.Event,
) -> None:
    """Run one request and put its head, its blocks and its end, or its error, on the queue."""

    def put(event: object) -> bool:
        while not stop.is_set():
            try:
                events.put(event, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    timeouts = (patience.connect_seconds, patience.stall_seconds)
    try:
        with (
            new_session(manners) as session,
            session.get(url, headers=headers, stream=True, timeout=timeouts) as response,
        ):
            if not put(Head(response.status_code, response.reason, response.headers)):
                return
            for block in response.iter_content(BLOCK_BYTES):
                if not put(block):
                    return
        put(None)
    except Exception as error:  # whatever it is, the thread that waits for it raises it
        put(error)


def _told(error: BaseException, patience: Patience) -> BaseException:
    """An error of the connection as one of ours."""
    import requests
    from urllib3.exceptions import MaxRetryError

    if isinstance(error, requests.exceptions.ReadTimeout):
        return BreakError(f"no answer for {patience.stall_seconds:g} s")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return BreakError("the connection broke off")
    if isinstance(error, requests.exceptions.SSLError):
        return MirrorError("its certificate is not trusted")
    if isinstance(error, requests.exceptions.ConnectionError):
        if error.args and isinstance(error.args[0], MaxRetryError):  # no connection was ever made
            return MirrorError("no connection")
        return BreakError("the connection broke off or stalled")
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return MirrorError("it leads in circles")
    if isinstance(error, requests.exceptions.RequestException):
        return MirrorError(f"the request failed: {error}")
    return error

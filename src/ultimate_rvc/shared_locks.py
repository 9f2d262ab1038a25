"""So that two machines do not compute one thing at once: locks in the Redis of ``URVC_CACHE``, for a limited time.

A lock saves work; it protects nothing. Without Redis, or while it is away, both compute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from ultimate_rvc.shared_cache import PREFIX, Asking, redis_client

HELD_SECONDS = 60.0  # without a renewal: a machine that died blocks the others no longer
RENEWALS = 3  # in that time
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 2 * 3600.0  # longer than any separation of a song; then it is computed here too


class SharedLocks:
    """Locks by name; ``client`` is one of the package redis, or None where nothing is shared."""

    def __init__(self, client: Any | None, *, held_seconds: float = HELD_SECONDS) -> None:
        self._client, self._held_seconds = client, held_seconds
        self._asking = Asking()

    @contextmanager
    def hold(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold a lock while the block runs, if there is a Redis.

        ``waiting`` is called about every second while another machine holds it, and may raise to give up.
        """
        lock = self._acquired(name, waiting)
        if lock is None:
            yield
            return
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(lock, ended), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            self._asking.ask(lambda: _if_held(lock.release))

    def _acquired(self, name: str, waiting: Callable[[], None]) -> Any | None:
        """The lock, or None where there is nothing to lock with, or waiting took too long."""
        if (client := self._client) is None:
            return None
        # From any thread: it is renewed in another one than it is released in.
        lock = client.lock(f"{PREFIX}lock:{name}", timeout=self._held_seconds, thread_local=False)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if (taken := self._asking.ask(lambda: lock.acquire(blocking=False))) is None:
                return None
            if taken:
                return lock
            waiting()
            time.sleep(POLL_SECONDS)
        return None

    def _renew(self, lock: Any, ended: threading.Event) -> None:
        while not ended.wait(self._held_seconds / RENEWALS):
            self._asking.ask(lambda: _if_held(lock.reacquire))


def _if_held(change: Callable[[], Any]) -> None:
    """Change a lock, unless its time is over and another machine may have it."""
    from redis.exceptions import LockError

    with suppress(LockError):
        change()


@cache
def open_shared_locks() -> SharedLocks:
    """Those of the Redis that ``URVC_CACHE`` names, if any."""
    return SharedLocks(redis_client())

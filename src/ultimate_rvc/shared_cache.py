"""Small entries shared between machines: in Redis, when ``URVC_CACHE`` names one; else there is nothing to share.

An entry is a few kilobytes under a key that is a hash of everything that decides it. Whatever happens to Redis,
work goes on: what cannot be found is computed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from ultimate_rvc.errors import SettingError

log = logging.getLogger(__name__)

VARIABLE = "URVC_CACHE"
SCHEMES = ("redis://", "rediss://", "unix://")
PREFIX = "urvc:"
KEPT_SECONDS = 30 * 24 * 3600  # since an entry was written
PATIENCE_SECONDS = 1.0  # for one answer: computing takes less than waiting any longer
REST_SECONDS = 60.0  # after a failure, before Redis is asked again
DIGEST_BYTES = 32


class KeyValueStore(Protocol):
    """What is used of a client of the package redis."""

    def get(self, name: str) -> Any:
        """The bytes under ``name``, or None."""

    def set(self, name: str, value: bytes, *, ex: int) -> Any:
        """Keep ``value`` for ``ex`` seconds."""


class SharedCache:
    """Entries of bytes by key; each carries its checksum, bound to the key.

    ``store`` is None where none is configured; ``clock`` tells seconds and is given by tests.
    """

    def __init__(self, store: KeyValueStore | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._rests_until = float("-inf")
        self._warned = False

    def find(self, key: str) -> bytes | None:
        """What is kept under ``key``; None too for what is damaged and while Redis is away."""
        found = self._asked(lambda store: store.get(PREFIX + key))
        if not isinstance(found, bytes) or len(found) < DIGEST_BYTES:
            return None
        digest, content = found[:DIGEST_BYTES], found[DIGEST_BYTES:]
        return content if digest == _digest(key, content) else None

    def keep(self, key: str, content: bytes) -> None:
        """Keep ``content`` under ``key`` for a month."""
        entry = _digest(key, content) + content
        self._asked(lambda store: store.set(PREFIX + key, entry, ex=KEPT_SECONDS))

    def _asked(self, ask: Callable[[KeyValueStore], Any]) -> Any:
        if self._store is None or self._clock() < self._rests_until:
            return None
        try:
            return ask(self._store)
        except Exception as error:  # redis' own, of which there are many, and the socket's
            self._rests_until = self._clock() + REST_SECONDS
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            log.log(
                level, "The cache in %s cannot be reached (%s); work goes on without it.", VARIABLE, error
            )
            return None


@cache
def open_shared_cache() -> SharedCache:
    """The cache that ``URVC_CACHE`` names, such as ``redis://:password@host:6379/0``.

    Raises
    ------
    SettingError
        The variable names no Redis.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        return SharedCache(None)
    if not address.startswith(SCHEMES):
        raise SettingError(
            f"{VARIABLE} must begin with {' or '.join(SCHEMES)}, such as redis://localhost:6379/0."
        )
    try:
        import redis
    except ImportError:
        log.warning(
            "%s names a Redis, and the package redis is not installed; work goes on without.", VARIABLE
        )
        return SharedCache(None)
    try:
        store = redis.Redis.from_url(
            address, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
        )
    except ValueError as error:  # a port that is no number, an unknown option
        raise SettingError(f"{VARIABLE} is no address of a Redis: {error}.") from error
    return SharedCache(store)


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + content).digest()

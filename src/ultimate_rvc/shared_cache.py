"""What machines share of what they computed: ``URVC_CACHE`` names a Redis, a folder or object storage, or both.

Small entries lie in the Redis, else in the folder; large ones in the folder (``shared_folder.py``). A key is a hash
of everything that decides its entry. Whatever happens to either, work goes on: what cannot be found is computed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

from ultimate_rvc.errors import SettingError

log = logging.getLogger(__name__)

T = TypeVar("T")

VARIABLE = "URVC_CACHE"
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
FOLDER_SCHEMES = ("file://", "s3://", "gs://", "az://", "sftp://", "smb://", "memory://")
PREFIX = "urvc:"
KEPT_SECONDS = 30 * 24 * 3600  # since an entry was written
PATIENCE_SECONDS = 1.0  # for one answer: computing takes less than waiting any longer
REST_SECONDS = 60.0  # after a failure, before it is asked again
DIGEST_BYTES = 32


class KeyValueStore(Protocol):
    """What is used of a client of the package redis."""

    def get(self, name: str) -> Any:
        """The bytes under ``name``, or None."""

    def set(self, name: str, value: bytes, *, ex: int) -> Any:
        """Keep ``value`` for ``ex`` seconds."""


class Asking:
    """Asks something that may be away: then one warning says so, and it is left alone for a while.

    ``clock`` tells seconds and is given by tests.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests_until = float("-inf")
        self._warned = False

    def ask(self, question: Callable[[], T]) -> T | None:
        """What ``question`` gives; None while it is away."""
        if self._clock() < self._rests_until:
            return None
        try:
            return question()
        except (
            Exception
        ) as error:  # redis' own and each file system's, of which there are many, and the socket's
            self._rests_until = self._clock() + REST_SECONDS
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            log.log(
                level, "The cache in %s cannot be reached (%s); work goes on without it.", VARIABLE, error
            )
            return None


class SharedCache:
    """Small entries of bytes by key; each carries its checksum, bound to the key.

    ``store`` is None where none is configured; ``clock`` is as for :class:`Asking`.
    """

    def __init__(self, store: KeyValueStore | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._asking = Asking(clock=clock)

    def find(self, key: str) -> bytes | None:
        """What is kept under ``key``; None too for what is damaged and while the store is away."""
        if (store := self._store) is None:
            return None
        return checked(key, self._asking.ask(lambda: store.get(PREFIX + key)))

    def keep(self, key: str, content: bytes) -> None:
        """Keep ``content`` under ``key``, in a Redis for a month."""
        if (store := self._store) is not None:
            self._asking.ask(lambda: store.set(PREFIX + key, sealed(key, content), ex=KEPT_SECONDS))


def sealed(key: str, content: bytes) -> bytes:
    """``content`` behind its checksum, which is bound to the key."""
    return hashlib.sha256(key.encode() + b"\0" + content).digest() + content


def checked(key: str, entry: object) -> bytes | None:
    """The content of what :func:`sealed` gave for this key; None for anything else."""
    if not isinstance(entry, bytes) or len(entry) < DIGEST_BYTES:
        return None
    content = entry[DIGEST_BYTES:]
    return content if sealed(key, content) == entry else None


@cache
def open_shared_cache() -> SharedCache:
    """The cache that ``URVC_CACHE`` names, such as ``redis://:password@host:6379/0`` or ``file:///nas/urvc``.

    Raises
    ------
    SettingError
        The variable names something else.
    """
    from ultimate_rvc.shared_folder import open_shared_folder

    if (client := redis_client()) is not None:
        return SharedCache(client)
    return SharedCache(open_shared_folder() if redis_address() is None else None)


def redis_address() -> str | None:
    """The Redis of ``URVC_CACHE``, or None."""
    return _one_of(REDIS_SCHEMES, "Redis")


def folder_address() -> str | None:
    """The folder or object storage of ``URVC_CACHE``, or None."""
    return _one_of(FOLDER_SCHEMES, "folder")


def _one_of(schemes: tuple[str, ...], what: str) -> str | None:
    """The address of ``URVC_CACHE`` that begins with one of ``schemes``.

    Raises
    ------
    SettingError
        There are two, or one begins with something unknown.
    """
    addresses = [part.strip() for part in os.environ.get(VARIABLE, "").split(",") if part.strip()]
    for address in addresses:
        if not address.startswith(REDIS_SCHEMES + FOLDER_SCHEMES):
            raise SettingError(
                f"Each address in {VARIABLE} must begin with {', '.join(REDIS_SCHEMES + FOLDER_SCHEMES)}, such as "
                "redis://localhost:6379/0 or file:///nas/urvc."
            )
    found = [address for address in addresses if address.startswith(schemes)]
    if len(found) > 1:
        raise SettingError(f"{VARIABLE} names more than one {what}; leave one.")
    return found[0] if found else None


@cache
def redis_client() -> Any | None:
    """A client for the Redis of ``URVC_CACHE``; None without one, and without the package redis.

    Raises
    ------
    SettingError
        The address is none.
    """
    if (address := redis_address()) is None:
        return None
    try:
        import redis
    except ImportError:
        log.warning(
            "%s names a Redis, and the package redis is not installed; work goes on without.", VARIABLE
        )
        return None
    try:
        return redis.Redis.from_url(
            address, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
        )
    except ValueError as error:  # a port that is no number, an unknown option
        raise SettingError(f"{VARIABLE} is no address of a Redis: {error}.") from error

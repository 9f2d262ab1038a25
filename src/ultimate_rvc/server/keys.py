"""Keys of the API: kept as hashes, told once, each with the number of requests that it may make."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import filelock

from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import atomic_path
from ultimate_rvc.paths import home_dir
from ultimate_rvc.voices.names import checked_name

KEY_FILE = "api_keys.json"
KEY_VARIABLE = "URVC_API_KEY"
KEY_BYTES = 32
SHORTEST_KEY = 8
MINUTE_SECONDS = 60.0


class Keys:
    """Who may ask. ``hashes`` are SHA-256 in hexadecimal by name."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def name_of(self, key: str) -> str | None:
        """Whose key it is; None when it is nobody's. It takes as long for either."""
        digest, found = _hash(key), None
        for name, kept in self._hashes.items():
            if hmac.compare_digest(kept, digest):
                found = name
        return found


class RateLimit:
    """So many requests a minute for each client, which may come at once. ``clock`` tells seconds."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._left: dict[str, tuple[float, float]] = {}  # requests left, and when

    def seconds_to_wait(self, client: str) -> float:
        """0 when the client may ask now, which then counts; else when it may."""
        if self._per_minute is None:
            return 0.0
        now, most = self._clock(), float(self._per_minute)
        left, then = self._left.get(client, (most, now))
        left = min(left + (now - then) * most / MINUTE_SECONDS, most)
        if left < 1:
            return (1 - left) * MINUTE_SECONDS / most
        self._left[client] = (left - 1, now)
        if len(self._left) > 10_000:  # addresses without a key: who has all of its requests is as good as new
            self._left = {who: entry for who, entry in self._left.items() if entry[0] < most - 1}
        return 0.0


def all_keys(given: Iterable[str]) -> Keys:
    """The keys that are kept, and those given for this run.

    Raises
    ------
    SettingError
        One of them is too short to be a secret, or the file of keys cannot be read.
    """
    hashes = kept_hashes()
    for number, key in enumerate(given, 1):
        if len(key.strip()) < SHORTEST_KEY:
            raise SettingError(f"An API key must have at least {SHORTEST_KEY} letters.", "api_keys")
        hashes[f"key {number}"] = _hash(key)
    return Keys(hashes)


def kept_hashes() -> dict[str, str]:
    """Hashes of the kept keys by name.

    Raises
    ------
    SettingError
        The file of keys cannot be read.
    """
    path = key_file()
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise SettingError(
            f"The file of API keys {path} cannot be read; delete it and make new keys."
        ) from error
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise SettingError(f"The file of API keys {path} is damaged; delete it and make new keys.")
    return known


def new_key(name: str) -> str:
    """A new key, of which only the hash is kept.

    Raises
    ------
    SettingError
        The name is none, or another key has it.
    """
    name = checked_name(name.strip())
    with _changing():
        known = kept_hashes()
        if name in known:
            raise SettingError(f"There is an API key {name!r} already; remove it first.")
        key = f"urvc-{secrets.token_urlsafe(KEY_BYTES)}"
        _write(known | {name: _hash(key)})
    return key


def remove_key(name: str) -> None:
    """
    Raises
    ------
    SettingError
        There is no such key.
    """
    with _changing():
        known = kept_hashes()
        if name not in known:
            raise SettingError(f"There is no API key {name!r}; there are: {', '.join(known) or 'none'}.")
        del known[name]
        _write(known)


def key_file() -> Path:
    return home_dir() / KEY_FILE


def _changing() -> filelock.BaseFileLock:
    key_file().parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(key_file().with_suffix(".lock"))


def _write(hashes: Mapping[str, str]) -> None:
    with atomic_path(key_file()) as unfinished:
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(hashes, indent=2), encoding="utf-8")


def _hash(key: str) -> str:
    # A key is random and long, so that a slow hash, as for passwords, would protect nothing.
    return hashlib.sha256(key.strip().encode()).hexdigest()

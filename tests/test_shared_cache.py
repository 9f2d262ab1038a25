"""The cache that machines share: configured by one variable, never in the way."""

from __future__ import annotations

import sys

import pytest

from ultimate_rvc.errors import SettingError
from ultimate_rvc.shared_cache import VARIABLE, SharedCache, open_shared_cache, redis_client
from ultimate_rvc.shared_folder import open_shared_folder


class Store:
    """A Redis in memory that may be away."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.asked = 0
        self.is_away = False

    def get(self, name: str) -> bytes | None:
        self._answer()
        return self.entries.get(name)

    def set(self, name: str, value: bytes, *, ex: int) -> None:
        self._answer()
        assert ex > 0
        self.entries[name] = value

    def _answer(self) -> None:
        self.asked += 1
        if self.is_away:
            raise ConnectionError("refused")


@pytest.fixture(autouse=True)
def fresh() -> None:
    for opened in (open_shared_cache, redis_client, open_shared_folder):
        opened.cache_clear()


def test_damaged_entries_are_not_found() -> None:
    store = Store()
    shared = SharedCache(store)
    shared.keep("key", b"content")
    assert shared.find("key") == b"content"
    assert shared.find("other") is None
    (name,) = store.entries
    store.entries["urvc:other"] = store.entries[name]  # under another key
    assert shared.find("other") is None
    store.entries[name] = store.entries[name][:-1] + b"?"
    assert shared.find("key") is None


def test_redis_away_costs_one_warning_and_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    store = Store()
    shared = SharedCache(store, clock=lambda: now[0])
    shared.keep("key", b"content")
    store.is_away = True
    assert [shared.find("key") for _ in range(5)] == [None] * 5
    assert store.asked == 2  # it rests after the first failure
    now[0] = 61.0
    assert shared.find("key") is None
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1
    store.is_away, now[0] = False, 122.0
    assert shared.find("key") == b"content"


def test_without_the_variable_there_is_nothing_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    shared = open_shared_cache()
    shared.keep("key", b"content")
    assert shared.find("key") is None


def test_a_server_that_is_not_there_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("redis")
    monkeypatch.setenv(VARIABLE, "redis://127.0.0.1:1/0")
    shared = open_shared_cache()
    shared.keep("key", b"content")
    assert shared.find("key") is None
    assert [record.message for record in caplog.records if "cannot be reached" in record.message]


def test_without_the_package_it_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setenv(VARIABLE, "redis://127.0.0.1:1/0")
    assert open_shared_cache().find("key") is None
    assert "the package redis is not installed" in caplog.text


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("memcached://here", "must begin with redis://"),
        ("redis://here:port/0", "is no address of a Redis"),
        ("redis://here, redis://there", "names more than one Redis"),
        ("/nas/urvc", "such as redis://localhost:6379/0 or file:///nas/urvc"),
    ],
)
def test_an_address_of_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, told: str
) -> None:
    pytest.importorskip("redis")
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(SettingError, match=told):
        open_shared_cache()

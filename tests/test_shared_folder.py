"""A folder that machines share: entries whole or not at all, a disk that may go away, one separation for all."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from ultimate_rvc.covers.cache import StepCache, open_step_cache
from ultimate_rvc.covers.steps import SEPARATE_VERSION
from ultimate_rvc.rvc.infer.optimization.feature_cache import FeatureCache, open_feature_cache
from ultimate_rvc.shared_cache import VARIABLE, Asking, open_shared_cache, redis_client
from ultimate_rvc.shared_folder import SharedFolder, open_shared_folder
from ultimate_rvc.shared_locks import SharedLocks, open_shared_locks

CPU = torch.device("cpu")
INPUTS = {"song": "a" * 64}
CONTENT = os.urandom(4096)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    openers = (open_shared_cache, redis_client, open_shared_folder, open_shared_locks)
    for opened in openers:
        opened.cache_clear()
    yield
    for opened in openers:
        opened.cache_clear()


@pytest.fixture(params=["file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        (tmp_path / "nas").mkdir()
        yield f"file://{tmp_path}/nas"
        return
    files = fsspec.filesystem("memory")
    files.makedirs("/urvc", exist_ok=True)
    yield "memory://urvc"
    if files.exists("/urvc"):
        files.rm("/urvc", recursive=True)


@pytest.fixture
def shared(address: str, monkeypatch: pytest.MonkeyPatch) -> SharedFolder:
    monkeypatch.setenv(VARIABLE, address)
    folder = open_shared_folder()
    assert folder is not None
    return folder


def names_in(address: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(address)
    return sorted(path.removeprefix(root).lstrip("/") for path in files.find(root))


class Maker:
    """A separation that counts how often it was done, and may take its time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls, self._seconds = 0, seconds

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        time.sleep(self._seconds)
        (folder / "vocals.wav").write_bytes(CONTENT)
        (folder / "instrumental.wav").write_bytes(CONTENT[::-1])
        return {"model": "dsp"}


def separated(cache: StepCache, maker: Maker, step: str = "separate") -> Any:
    return cache.get(step, SEPARATE_VERSION, INPUTS, maker)


# ------------------------------------------------------------------ entries


def test_an_entry_is_found_whole_and_under_its_own_key_only(shared: SharedFolder, address: str) -> None:
    shared.keep("features/ab/one", CONTENT)
    assert shared.find("features/ab/one") == CONTENT
    assert shared.find("features/ab/two") is None
    files, root = fsspec.core.url_to_fs(address)
    files.copy(f"{root}/features/ab/one", f"{root}/features/ab/two")
    assert shared.find("features/ab/two") is None
    files.pipe_file(f"{root}/features/ab/one", files.cat_file(f"{root}/features/ab/one")[:-1])
    assert shared.find("features/ab/one") is None
    assert names_in(address) == ["features/ab/one", "features/ab/two"]  # nothing unfinished


def test_a_write_that_fails_leaves_nothing(
    shared: SharedFolder, address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not shared.send(tmp_path / "not there", "steps/a/b")
    assert names_in(address) == []
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_small_entries_lie_in_the_folder_where_there_is_no_redis(shared: SharedFolder, address: str) -> None:
    open_shared_cache().keep("speaker-1", b"embedding")
    assert open_shared_cache().find("speaker-1") == b"embedding"
    assert names_in(address) == ["urvc/speaker-1"]


def test_a_disk_that_is_not_mounted_is_warned_of_once_and_asked_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    root = tmp_path / "nas"
    shared = SharedFolder(fsspec.filesystem("file"), str(root), asking=Asking(clock=lambda: now[0]))
    for _ in range(3):
        shared.keep("key", CONTENT)
        assert shared.find("key") is None
    assert not root.exists()
    assert len([record for record in caplog.records if "cannot be reached" in record.message]) == 1
    root.mkdir()
    shared.keep("key", CONTENT)
    assert list(root.iterdir()) == []  # it still rests
    now[0] = 61.0
    shared.keep("key", CONTENT)
    assert shared.find("key") == CONTENT


def test_a_package_that_is_missing_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    monkeypatch.setenv(VARIABLE, "s3://bucket/urvc")
    assert open_shared_folder() is None
    assert "Install s3fs to access S3" in caplog.text


# ----------------------------------------------------------------- features


def test_features_of_one_machine_are_found_by_another(
    shared: SharedFolder, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("URVC_AUDIO_DIR", str(tmp_path / "one"))
    features = torch.randn(50, 12)
    kept = open_feature_cache().keep_features("features-1a", features, CPU)
    monkeypatch.setenv("URVC_AUDIO_DIR", str(tmp_path / "two"))
    other = open_feature_cache()
    found = other.find("features-1a", CPU)
    assert found is not None
    assert torch.equal(found, kept)
    files, root = fsspec.core.url_to_fs(address)
    files.rm(root, recursive=True)
    again = other.find("features-1a", CPU)  # its own disk has it now
    assert again is not None
    assert torch.equal(again, kept)


def test_damaged_features_of_another_machine_are_computed_again(tmp_path: Path, shared: SharedFolder) -> None:
    shared.keep("features/1a/features-1a", b"no features")
    assert FeatureCache(tmp_path / "here", 10**9, shared=shared).find("features-1a", CPU) is None


# -------------------------------------------------------------- separations


def test_a_separation_of_one_machine_is_found_by_another(shared: SharedFolder, tmp_path: Path) -> None:
    maker = Maker()
    separated(StepCache(tmp_path / "one", shared), maker)
    entry = separated(StepCache(tmp_path / "two", shared), maker)
    assert maker.calls == 1
    assert entry.cached
    assert entry.path("vocals.wav").read_bytes() == CONTENT
    assert entry.path("vocals.wav").is_relative_to(tmp_path / "two")
    assert entry.facts == {"model": "dsp"}
    assert list((tmp_path / "two" / "partial").iterdir()) == []


def test_steps_that_are_fast_are_not_shared(shared: SharedFolder, address: str, tmp_path: Path) -> None:
    separated(StepCache(tmp_path / "one", shared), Maker(), step="effects")
    assert names_in(address) == []


@pytest.mark.parametrize("damage", ["file", "manifest", "half"])
def test_a_damaged_separation_is_made_again(
    shared: SharedFolder, address: str, tmp_path: Path, damage: str
) -> None:
    maker = Maker()
    separated(StepCache(tmp_path / "one", shared), maker)
    files, root = fsspec.core.url_to_fs(address)
    by_name = {path.rpartition("/")[2]: path for path in files.find(root)}
    if damage == "half":
        files.rm_file(by_name["vocals.wav"])
    else:
        path = by_name["vocals.wav" if damage == "file" else "manifest.json"]
        content = files.cat_file(path)
        files.pipe_file(path, content[:-9] + b"?" + content[-8:])
    assert separated(StepCache(tmp_path / "two", shared), maker).path("vocals.wav").read_bytes() == CONTENT
    assert maker.calls == 2
    separated(StepCache(tmp_path / "three", shared), maker)  # what was made again has replaced it
    assert maker.calls == 2


# -------------------------------------------------------------------- locks


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A real one on a port of its own, which keeps nothing."""
    pytest.importorskip("redis")
    if (program := shutil.which("redis-server")) is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    process = subprocess.Popen([program, "--bind", "127.0.0.1", *options], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield process, f"redis://127.0.0.1:{port}/0"
    process.kill()
    process.wait()


def at_once(folders: list[Path], shared: SharedFolder, locks: SharedLocks | None, maker: Maker) -> list[Any]:
    entries: list[Any] = []

    def work(folder: Path) -> None:
        entries.append(separated(StepCache(folder, shared, locks), maker))

    threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return entries


def test_two_machines_do_not_separate_one_song_at_once(
    redis_server: tuple[Any, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, redis_address = redis_server
    (tmp_path / "nas").mkdir()
    monkeypatch.setenv(VARIABLE, f"{redis_address}, file://{tmp_path}/nas")
    shared, maker = open_shared_folder(), Maker(seconds=1.0)
    assert shared is not None
    entries = at_once([tmp_path / "one", tmp_path / "two"], shared, open_shared_locks(), maker)
    assert maker.calls == 1
    assert [entry.path("vocals.wav").read_bytes() for entry in entries] == [CONTENT] * 2
    open_shared_cache().keep("speaker-1", b"embedding")
    assert redis_client().get("urvc:speaker-1") is not None  # small entries lie in the Redis


def test_a_lock_is_kept_while_work_lasts_and_free_when_its_machine_died(
    redis_server: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, redis_server[1])
    client = redis_client()
    locks = SharedLocks(client, held_seconds=0.6)
    client.lock("urvc:lock:dead", timeout=0.6).acquire()  # by a machine that never renews it
    waited: list[float] = []
    with locks.hold("dead", lambda: waited.append(time.monotonic())):
        time.sleep(1.0)
        assert not client.lock("urvc:lock:dead", timeout=0.6).acquire(blocking=False)
    assert waited
    assert client.lock("urvc:lock:dead", timeout=0.6).acquire(blocking=False)


def test_a_redis_that_stops_in_the_middle_fails_nothing(
    redis_server: tuple[subprocess.Popen[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    process, redis_address = redis_server
    (tmp_path / "nas").mkdir()
    monkeypatch.setenv(VARIABLE, f"{redis_address},file://{tmp_path}/nas")
    monkeypatch.setenv("URVC_AUDIO_DIR", str(tmp_path / "audio"))

    class Stopping(Maker):
        def __call__(self, folder: Path) -> dict[str, Any]:
            process.kill()
            process.wait()
            return super().__call__(folder)

    open_shared_cache().keep("speaker-1", b"embedding")
    assert open_shared_cache().find("speaker-1") == b"embedding"
    entry = separated(open_step_cache(), Stopping())
    assert entry.path("vocals.wav").read_bytes() == CONTENT
    assert open_shared_cache().find("speaker-1") is None
    with open_shared_locks().hold("anything", lambda: None):
        pass
    warnings = [record for record in caplog.records if "cannot be reached" in record.message]
    assert len([record for record in warnings if record.levelname == "WARNING"]) == 2  # of entries, of locks

"""Importing voices from links, through a server that behaves in every way servers do."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.misbehaving_server import (
    Answer,
    Behaviour,
    Loopback,
    attached,
    breaks_off_after,
    by_range,
    loopback,
    page,
    redirects_to,
    says,
    whole,
    without_length,
)
from ultimate_rvc.assets.connection import BLOCK_BYTES, Patience
from ultimate_rvc.errors import CancelledError, DownloadError, SettingError, UltimateRVCError, VoiceFileError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.voice_file.read import load_voice_model
from ultimate_rvc.voices import fetching
from ultimate_rvc.voices.library import VoiceRef, import_voice_from_url, list_voices
from voice_factory import write_executing_voice, write_index, write_voice

IMPATIENT = Patience(connect_seconds=5, stall_seconds=0.3, attempts=2, wait_seconds=0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback() as running:
        monkeypatch.setenv("URVC_HF_ENDPOINT", running.url)
        monkeypatch.delenv("URVC_OFFLINE")
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_voice(tmp_path_factory.mktemp("model") / "v.pth").read_bytes()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, model: bytes) -> bytes:
    folder = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(folder / "v.zip", "w") as packed:
        packed.writestr("deep/singer.pth", model)
        packed.write(write_index(folder / "x.index"), "deep/added_x.index")
    return (folder / "v.zip").read_bytes()


def fetch(url: str, name: str | None = None, **more: Any) -> VoiceRef:
    return import_voice_from_url(url, name, patience=IMPATIENT, **more)


def leftovers() -> list[Path]:
    downloads = voice_models_dir() / ".downloads"
    return [path for path in downloads.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_voice_is_imported_from_a_link_and_tells_where_it_came_from(
    server: Loopback, archive: bytes
) -> None:
    reports: list[float] = []
    progress = Progress(lambda step, fraction, text: reports.append(fraction))
    ref = fetch(server.serve("/files/x.zip?token=secret", by_range(archive)), progress=progress)
    assert ref.name == "singer"
    assert ref.index_path is not None
    load_voice_model(ref.model_path)
    record = json.loads((voice_models_dir() / "singer" / "voice.json").read_text())
    assert record["imported_from"]["url"] == f"{server.url}/files/x.zip"
    assert reports == sorted(reports)
    assert reports[-1] == 1.0
    assert not leftovers()


@pytest.mark.parametrize(
    ("path", "told", "name"),
    [
        ("/v/My%20Voice.pth", None, "My Voice"),
        ("/download", "Singer.pth", "Singer"),
        ("/download.php", "../../evil/..\\Sing:er?.zip", "Singer"),
        ("/", "...", "voice"),
    ],
)
def test_the_name_is_the_servers_made_harmless(
    server: Loopback, model: bytes, path: str, told: str | None, name: str
) -> None:
    behaviour = by_range(model) if told is None else attached(model, told.replace("\\", "\\\\"))
    assert fetch(server.serve(path, behaviour)).name == name
    assert [ref.name for ref in list_voices()] == [name]


def test_model_and_index_come_from_two_links(server: Loopback, model: bytes, tmp_path: Path) -> None:
    index = write_index(tmp_path / "i.index")
    url = server.serve("/v.pth", by_range(model))
    index_url = server.serve("/added_IVF4.index", by_range(index.read_bytes()))
    ref = fetch(url, "one", index=index_url)
    assert ref.index_path is not None
    assert ref.index_path.read_bytes() == index.read_bytes()
    assert fetch(url, "two", index=index).index_path is not None  # a file of this machine


def test_hugging_faces_checksum_is_checked(server: Loopback, model: bytes) -> None:
    digest = hashlib.sha256(model).hexdigest()
    stated = {"X_Linked_Size": str(len(model)), "X_Linked_Etag": f'"{digest}"'}

    def answer(request: Answer) -> None:
        if request.command == "HEAD":
            request.status(302, Location="/cdn/v", **stated)
        else:
            request.status(302, Location="/cdn/v")

    server.serve("/team/voices/resolve/main/v.pth", answer)
    server.serve("/cdn/v", whole(model[:-1] + b"!"))
    link = "https://huggingface.co/team/voices/blob/main/v.pth"
    with pytest.raises(DownloadError, match="it sent other bytes"):
        fetch(link)
    assert (list_voices(), leftovers()) == ([], [])
    server.serve("/cdn/v", by_range(model))
    assert fetch(link).name == "v"


def test_a_checksum_of_the_users_is_checked(server: Loopback, model: bytes) -> None:
    url = server.serve("/v.pth", by_range(model))
    for wrong in ("abc", "g" * 64):
        with pytest.raises(SettingError, match="64 hexadecimal digits"):
            fetch(url, sha256=wrong)
    with pytest.raises(DownloadError, match="it sent other bytes"):
        fetch(url, sha256="0" * 64)
    assert fetch(url, sha256=hashlib.sha256(model).hexdigest().upper()).name == "v"


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "404": (says(404), "404 Not Found"),
    "always busy": (says(503), "503 Service Unavailable"),
    "a web page": (page("<html>Click here to download</html>"), "a web page, not with a file"),
    "closes at once": (breaks_off_after(b"x" * 1000, 0), "broke off"),
    "circles": (lambda request: request.status(302, Location=request.path), "leads in circles"),
    "leads to http": (redirects_to("http://example.com/v.pth"), "use its https"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_download_is_told_and_nothing_is_imported(server: Loopback, case: str) -> None:
    behaviour, told = FAILURES[case]
    with pytest.raises(DownloadError, match=told) as caught:
        fetch(server.serve("/v.pth", behaviour))
    assert "\n" not in str(caught.value)
    assert list_voices() == []


def test_a_break_is_continued_within_one_import_and_in_the_next(server: Loopback, model: bytes) -> None:
    half = 10 * BLOCK_BYTES

    def breaks(request: Answer) -> None:
        request.body(model[:half], promise=len(model), ETag='"1"')

    url = server.serve("/v.pth", breaks, says(404))
    with pytest.raises(DownloadError, match="404"):
        fetch(url)
    assert list_voices() == []
    server.serve("/v.pth", attached(model, "v.pth", ETag='"1"'))
    load_voice_model(fetch(url).model_path)
    assert server.requests[-1] == ("/v.pth", f"bytes={half}-")


def test_a_stalled_server_is_left_and_a_silent_one_cancelled(server: Loopback, model: bytes) -> None:
    url = server.serve("/v.pth", server.stalls_after(model, len(model) // 2), by_range(model))
    assert fetch(url, "stalled").name == "stalled"
    server.serve("/v.pth", server.stalls_after(model, len(model) // 2))
    progress = Progress(lambda step, fraction, text: progress.cancel() if fraction > 0.1 else None)
    with pytest.raises(CancelledError):
        fetch(url, "cancelled", progress=progress)
    assert [ref.name for ref in list_voices()] == ["stalled"]


def test_a_server_that_sends_too_much_is_given_up(
    server: Loopback, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_UNPACKED_BYTES", 100_000)
    for behaviour in (without_length(model), by_range(model)):
        with pytest.raises(DownloadError, match="the most that is taken"):
            fetch(server.serve("/v.pth", behaviour))
        assert not leftovers()


def test_what_is_no_voice_is_refused_by_the_links_name_and_deleted(
    server: Loopback, tmp_path: Path, archive: bytes
) -> None:
    evil = write_executing_voice(tmp_path / "evil.pth", tmp_path / "ran").read_bytes()
    cut = archive[: len(archive) // 2]
    for content, told in (
        (b"words", "is a text file"),
        (evil, "asks to run"),
        (cut, "damaged"),
        (b"", "empty"),
    ):
        url = server.serve("/v.pth", whole(content))
        with pytest.raises(VoiceFileError, match=told) as caught:
            fetch(url)
        assert url in str(caught.value)
        assert ".downloads" not in str(caught.value)
        assert (list_voices(), leftovers()) == ([], [])
    assert not (tmp_path / "ran").exists()


def test_a_taken_name_costs_no_second_download(server: Loopback, model: bytes) -> None:
    url = server.serve("/v.pth", by_range(model))
    fetch(url)
    with pytest.raises(VoiceFileError, match="is taken in"):
        fetch(url)
    asked = len(server.requests)
    assert fetch(url, "another").name == "another"
    assert len(server.requests) == asked
    assert not leftovers()
    with pytest.raises(VoiceFileError, match="is taken in"):
        fetch(url, "Another")  # known before anything is asked for
    assert len(server.requests) == asked


def test_two_links_that_differ_only_in_their_query_are_two_files(
    server: Loopback, model: bytes, tmp_path: Path
) -> None:
    other = write_voice(tmp_path / "o.pth", sample_rate=48000).read_bytes()
    first = server.serve("/get?id=1", attached(model, "a.pth"))
    second = server.serve("/get?id=2", attached(other, "a.pth"))
    fetch(first)
    with pytest.raises(VoiceFileError, match="is taken in"):
        fetch(first)
    assert load_voice_model(fetch(second, "b").model_path).sample_rate == 48000


def test_offline_nothing_is_asked(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URVC_OFFLINE", "1")
    with pytest.raises(DownloadError, match="URVC_OFFLINE forbids downloading"):
        fetch(server.serve("/v.pth", says(404)))
    assert server.requests == []


def test_a_page_that_others_reach_cannot_ask_this_machine(server: Loopback, model: bytes) -> None:
    url = server.serve("/v.pth", by_range(model))
    with pytest.raises(UltimateRVCError, match="this machine or its network"):
        fetch(url, allow_local=False)
    assert server.requests == []


def test_old_downloads_that_broke_off_are_forgotten(server: Loopback, model: bytes) -> None:
    old, new = (voice_models_dir() / ".downloads" / name for name in ("old", "new"))
    for folder in (old, new):
        (folder / "0").mkdir(parents=True)
        (folder / "0" / "x").write_text("x")
    for path in (old, old / "0", old / "0" / "x"):
        os.utime(path, (1, 1))
    fetch(server.serve("/v.pth", by_range(model)))
    assert (old.exists(), new.exists()) == (False, True)

"""Songs behind links, from a server on this machine: what comes, and what is told when nothing does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from full_disk import file_size_limit
from ultimate_rvc.covers.download import download_song
from ultimate_rvc.covers.settings import SourceSettings
from ultimate_rvc.errors import CancelledError, SourceError
from ultimate_rvc.progress import Progress

SONG = Path(__file__).parents[1] / "data" / "songs" / "water_vocals.ogg"
PAGE = b"<html><head><title>My Page</title></head><body><audio src='/direct.ogg'></audio></body></html>"
TWO_SONGS = b"<html><body><audio src='/direct.ogg'></audio><audio src='/other.ogg'></audio></body></html>"
TEXT_PAGE = b"<html><head><title>Words</title></head><body>Nothing to hear.</body></html>"
STALL_LIMIT_SECONDS = 30.0


class SongServer(BaseHTTPRequestHandler):
    """A few pages and files, some of them broken on purpose."""

    stop = threading.Event()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.endswith(".ogg") and path != "/missing.ogg":
            self._send("audio/ogg", SONG.read_bytes())
        elif path in ("/page", "/two", "/text"):
            self._send("text/html", {"/page": PAGE, "/two": TWO_SONGS, "/text": TEXT_PAGE}[path])
        elif path == "/words.txt":
            self._send("text/plain", b"These are words. " * 100)
        elif path == "/empty.mp3":
            self._send("audio/mpeg", b"")
        elif path == "/stall.mp3":
            self.stop.wait(STALL_LIMIT_SECONDS)
        elif path == "/broken.mp3":
            self._send("audio/mpeg", SONG.read_bytes()[:2000], length=60_000)
        elif path == "/private.mp3" and "pass=yes" in self.headers.get("Cookie", ""):
            self._send("audio/ogg", SONG.read_bytes())
        else:
            codes = {"/private.mp3": 403, "/sign-in.mp3": 401, "/busy.mp3": 429, "/failing.mp3": 500}
            self.send_error(codes.get(path, 404))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, kind: str, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    SongServer.stop.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SongServer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    SongServer.stop.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _loopback_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("URVC_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def sentence_for(url: str, folder: Path, settings: SourceSettings | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        download_song(url, folder, settings or SourceSettings(network_timeout_seconds=2))
    sentence = str(caught.value)
    assert url in sentence
    assert "\n" not in sentence
    assert sentence.count(". ") == 0  # one sentence
    return sentence


def test_a_direct_link_brings_the_very_bytes(server: str, tmp_path: Path) -> None:
    song = download_song(f"{server}/direct.ogg", tmp_path, SourceSettings())
    assert song.path.read_bytes() == SONG.read_bytes()
    assert song.title == "direct"


def test_a_page_with_an_audio_element_brings_its_audio_under_the_pages_title(
    server: str, tmp_path: Path
) -> None:
    song = download_song(f"{server}/page", tmp_path, SourceSettings())
    assert song.path.read_bytes() == SONG.read_bytes()
    assert "My Page" in song.title


def test_a_folder_with_percent_signs_and_spaces_is_taken_literally(server: str, tmp_path: Path) -> None:
    folder = tmp_path / "100 %(title)s ü"
    folder.mkdir()
    assert download_song(f"{server}/direct.ogg", folder, SourceSettings()).path.parent == folder


def test_nothing_of_the_downloader_reaches_the_terminal(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        download_song(f"{server}/direct.ogg", tmp_path, SourceSettings())
        sentence_for(f"{server}/missing.ogg", tmp_path)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing.ogg", "There is nothing at"),
        (
            "/private.mp3",
            "private or needs a sign-in (HTTP 403); give the browser's cookies as the cookiefile",
        ),
        ("/sign-in.mp3", "private or needs a sign-in (HTTP 401)"),
        ("/busy.mp3", "refuses more requests"),
        ("/failing.mp3", "answered with an error (HTTP 500)"),
        ("/two", "is a list of several recordings"),
        ("/text", "is a page without audio"),
        ("/empty.mp3", "sent an empty file"),
        ("/stall.mp3", "could not be reached"),
        ("/broken.mp3", "The connection broke before all of"),
    ],
)
def test_each_failure_is_one_sentence_of_its_own(server: str, tmp_path: Path, path: str, words: str) -> None:
    assert words in sentence_for(server + path, tmp_path)


def test_a_disk_without_room_is_told_with_its_folder(server: str, tmp_path: Path) -> None:
    with file_size_limit(100):
        assert f"in {tmp_path} (File too large); make room" in sentence_for(f"{server}/song.ogg", tmp_path)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "could not be reached; check the link and the network" in sentence_for(
        "http://127.0.0.1:9/song.mp3", tmp_path
    )


def test_a_name_that_no_server_has_is_told(tmp_path: Path) -> None:
    assert "could not be reached" in sentence_for("https://no-such-host.invalid/song.mp3", tmp_path)


def test_offline_is_told_before_anything_is_asked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URVC_OFFLINE", "1")
    assert "was not fetched because URVC_OFFLINE is set" in sentence_for(f"{server}/direct.ogg", tmp_path)


@pytest.mark.parametrize("url", ["ftp://host/song.mp3", "file:///etc/passwd"])
def test_only_http_is_fetched(url: str, tmp_path: Path) -> None:
    assert "only http and https" in sentence_for(url, tmp_path)


def test_cookies_of_a_file_are_sent(server: str, tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t2147483647\tpass\tyes\n", encoding="utf-8"
    )
    before = cookies.read_bytes()
    song = download_song(f"{server}/private.mp3", tmp_path, SourceSettings(cookiefile=cookies))
    assert song.path.read_bytes() == SONG.read_bytes()
    assert cookies.read_bytes() == before  # the user's file stays as it is


def test_a_cookie_file_that_is_none_or_missing_is_named(server: str, tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    with pytest.raises(SourceError, match=r"cookie file .*cookies\.txt does not exist"):
        download_song(f"{server}/direct.ogg", tmp_path, SourceSettings(cookiefile=cookies))
    cookies.write_text("{}")
    with pytest.raises(SourceError, match=r"cookie file .*cookies\.txt is not in Netscape format"):
        download_song(f"{server}/direct.ogg", tmp_path, SourceSettings(cookiefile=cookies))


def test_a_download_can_be_cancelled(server: str, tmp_path: Path) -> None:
    progress = Progress(lambda step, fraction, text: progress.cancel() if "MB" in text else None)
    with pytest.raises(CancelledError):
        download_song(f"{server}/direct.ogg", tmp_path, SourceSettings(), progress)

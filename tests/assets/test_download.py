"""Downloads from a server on this machine that behaves in every way servers do."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections import namedtuple
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
    continues_elsewhere,
    drips,
    loopback,
    redirects_to,
    says,
    whole,
    without_length,
)
from ultimate_rvc.assets import transfer
from ultimate_rvc.assets.download import BLOCK_BYTES, Patience, fetch
from ultimate_rvc.errors import CancelledError, DownloadError
from ultimate_rvc.progress import Progress

CONTENT = bytes(range(256)) * 4000  # 1 MB: several blocks
WRONG = bytes(reversed(CONTENT))
BREAK_AT = 18 * BLOCK_BYTES
SHA256 = hashlib.sha256(CONTENT).hexdigest()
IMPATIENT = Patience(connect_seconds=5, stall_seconds=0.3, attempts=3, wait_seconds=0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback() as running:
        yield running


def get(target: Path, *urls: str, progress: Progress | None = None, **expected: Any) -> None:
    expected = {"size_bytes": len(CONTENT), "sha256": SHA256} | expected
    fetch(urls, target, label="model", progress=progress, patience=IMPATIENT, **expected)


def leftovers(target: Path) -> list[str]:
    return [path.name for path in target.parent.glob(".*.partial")]


def test_a_file_is_fetched_with_its_progress(server: Loopback, tmp_path: Path) -> None:
    reports: list[tuple[str, float, str]] = []
    target = tmp_path / "new folder" / "model.bin"
    url = server.serve("/model", by_range(CONTENT))
    get(target, url, progress=Progress(lambda *report: reports.append(report)))
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []
    fractions = [fraction for _, fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert reports[-1][0] == "download model"
    assert reports[-1][2] == "1.0 of 1.0 MB"


GOOD_IN_THE_END: dict[str, tuple[Behaviour, ...]] = {
    "ignores ranges": (breaks_off_after(CONTENT, BREAK_AT), whole(CONTENT)),
    "busy at first": (says(503), says(429), by_range(CONTENT)),
    "breaks off and continues": (breaks_off_after(CONTENT, BREAK_AT), by_range(CONTENT)),
    "breaks off before the first byte": (breaks_off_after(CONTENT, 0), by_range(CONTENT)),
    "continues at another place": (
        breaks_off_after(CONTENT, BREAK_AT),
        continues_elsewhere(CONTENT),
        by_range(CONTENT),
    ),
    "brings 100 kB at a time": (breaks_off_after(CONTENT, 100_000),),  # many breaks, each with something new
    "does not tell the length": (without_length(CONTENT),),
}


@pytest.mark.parametrize("case", GOOD_IN_THE_END)
def test_a_server_that_comes_round_is_enough(server: Loopback, tmp_path: Path, case: str) -> None:
    target = tmp_path / "model.bin"
    get(target, server.serve("/model", *GOOD_IN_THE_END[case]))
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []


def test_a_break_is_continued_from_the_next_byte(server: Loopback, tmp_path: Path) -> None:
    url = server.serve("/model", breaks_off_after(CONTENT, BREAK_AT), by_range(CONTENT))
    get(tmp_path / "model.bin", url)
    assert server.requests == [("/model", None), ("/model", f"bytes={BREAK_AT}-")]


def test_a_stalled_server_is_left_and_the_rest_fetched(server: Loopback, tmp_path: Path) -> None:
    url = server.serve("/model", server.stalls_after(CONTENT, BREAK_AT), by_range(CONTENT))
    get(tmp_path / "model.bin", url)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert server.requests[-1] == ("/model", f"bytes={BREAK_AT}-")


def test_redirects_are_followed_and_ranges_kept(server: Loopback, tmp_path: Path) -> None:
    there = server.serve("/there", breaks_off_after(CONTENT, BREAK_AT), by_range(CONTENT))
    get(tmp_path / "model.bin", server.serve("/here", redirects_to(there)))
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert server.requests[-1] == ("/there", f"bytes={BREAK_AT}-")


BAD: dict[str, tuple[Behaviour, str]] = {
    "404": (says(404), "404 Not Found"),
    "403": (says(403), "403 Forbidden"),
    "always busy": (says(503), "503 Service Unavailable"),
    "other bytes": (by_range(WRONG), "it sent other bytes, with SHA-256"),
    "another length": (
        by_range(CONTENT[:-1]),
        f"it offers {len(CONTENT) - 1} bytes instead of {len(CONTENT)}",
    ),
    "too much": (without_length(CONTENT + b"more"), "more than the 1024000 bytes"),
    "cut short": (without_length(CONTENT[:5000]), "instead of|broke off"),
    "always closes": (breaks_off_after(CONTENT, 0), "broke off"),
    "drips": (drips(CONTENT), "no answer|hardly a byte"),
    "leads in circles": (lambda request: request.status(302, Location=request.path), "leads in circles"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_mirror_is_named_and_leaves_no_file(server: Loopback, tmp_path: Path, case: str) -> None:
    behaviour, reason = BAD[case]
    target = tmp_path / "model.bin"
    with pytest.raises(DownloadError, match=reason) as raised:
        get(target, server.serve("/model", behaviour))
    assert "'model' could not be downloaded from 127.0.0.1" in str(raised.value)
    assert str(target) in str(raised.value)
    assert not target.exists()


@pytest.mark.parametrize("case", BAD)
def test_the_next_mirror_serves_when_one_is_bad(server: Loopback, tmp_path: Path, case: str) -> None:
    target = tmp_path / "model.bin"
    get(target, server.serve("/bad", BAD[case][0]), server.serve("/good", by_range(CONTENT)))
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []


def test_a_server_that_is_not_there_is_told_at_once(server: Loopback, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 \(no connection\)"):
        get(tmp_path / "model.bin", "http://127.0.0.1:9/model")
    get(tmp_path / "model.bin", "http://127.0.0.1:9/model", server.serve("/model", by_range(CONTENT)))
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_a_cancelled_download_goes_on_in_the_next_call(server: Loopback, tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    url = server.serve("/model", by_range(CONTENT))
    progress = Progress(lambda step, fraction, text: progress.cancel() if fraction > 0.4 else None)
    with pytest.raises(CancelledError):
        get(target, url, progress=progress)
    assert not target.exists()
    (partial,) = target.parent.glob(".*.partial")
    have = partial.stat().st_size
    assert 0 < have < len(CONTENT)
    get(target, url)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == ("/model", f"bytes={have}-")


def test_a_spoilt_part_is_thrown_away_and_fetched_anew(server: Loopback, tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    url = server.serve("/model", breaks_off_after(WRONG, BREAK_AT), by_range(CONTENT))
    get(target, url)
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, f"bytes={BREAK_AT}-", None]


def test_without_expectations_the_whole_answer_is_taken(server: Loopback, tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    get(target, server.serve("/model", by_range(CONTENT)), size_bytes=None, sha256=None)
    assert target.read_bytes() == CONTENT


def test_two_at_once_fetch_once(server: Loopback, tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    url = server.serve("/model", by_range(CONTENT))
    threads = [threading.Thread(target=get, args=(target, url)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_too_little_room_is_told_before_the_download(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 500_000))
    with pytest.raises(DownloadError, match=r"'model' needs 1 MB more and .* has 0 MB free"):
        get(tmp_path / "model.bin", server.serve("/model", by_range(CONTENT)))


def test_a_disk_that_fills_up_is_named(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transfer, "_copy", full)
    with pytest.raises(DownloadError, match=f"The disk is full while downloading 'model' to {tmp_path}"):
        get(tmp_path / "model.bin", server.serve("/model", by_range(CONTENT)))


def test_a_folder_that_cannot_be_made_is_named(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"cannot be written to .*models"):
        get(tmp_path / "models" / "model.bin", server.serve("/model", by_range(CONTENT)))


def test_a_cancellation_does_not_wait_for_a_silent_server(server: Loopback, tmp_path: Path) -> None:
    """Cancelled by the first block; the server then says nothing for as long as the test lasts."""
    url = server.serve("/model", server.stalls_after(CONTENT, BREAK_AT))
    progress = Progress()
    cancel = threading.Timer(0.3, progress.cancel)
    cancel.start()
    patient = Patience(stall_seconds=1000, attempts=1)
    with pytest.raises(CancelledError):
        fetch([url], tmp_path / "model.bin", label="model", progress=progress, patience=patient)
    assert not (tmp_path / "model.bin").exists()


def without_checksum(target: Path, url: str, **more: Any) -> str | None:
    return fetch([url], target, label="model", patience=IMPATIENT, **more)


@pytest.mark.parametrize("headers", [{"ETag": '"one"'}, {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_without_a_checksum_the_servers_word_tells_whether_to_go_on(
    server: Loopback, tmp_path: Path, headers: dict[str, str]
) -> None:
    target = tmp_path / "model.bin"
    asked: list[str | None] = []

    def breaks(request: Answer) -> None:
        request.body(CONTENT[:BREAK_AT], promise=len(CONTENT), **headers)

    def goes_on(request: Answer) -> None:
        asked.append(request.headers.get("If-Range"))
        attached(CONTENT, "m.pth", **headers)(request)

    url = server.serve("/model", breaks, says(404))
    with pytest.raises(DownloadError, match="404"):
        without_checksum(target, url)
    assert without_checksum(target, server.serve("/model", goes_on)) == "m.pth"
    assert target.read_bytes() == CONTENT
    assert asked == list(headers.values())
    assert server.requests[-1] == ("/model", f"bytes={BREAK_AT}-")
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_without_a_checksum_a_file_that_changed_is_fetched_from_its_beginning(
    server: Loopback, tmp_path: Path
) -> None:
    def breaks(request: Answer) -> None:
        request.body(WRONG[:BREAK_AT], promise=len(WRONG), ETag='"old"')

    url = server.serve("/model", breaks, says(404))
    with pytest.raises(DownloadError):
        without_checksum(tmp_path / "model.bin", url)
    # If-Range does not fit any more, so the whole of the new file comes.
    without_checksum(tmp_path / "model.bin", server.serve("/model", whole(CONTENT)))
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_without_checksum_and_word_nothing_old_is_kept(server: Loopback, tmp_path: Path) -> None:
    url = server.serve("/model", breaks_off_after(WRONG, BREAK_AT), says(404))
    with pytest.raises(DownloadError):
        without_checksum(tmp_path / "model.bin", url)
    without_checksum(tmp_path / "model.bin", server.serve("/model", by_range(CONTENT)))
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert server.requests[-1] == ("/model", None)


@pytest.mark.parametrize("behaviour", [by_range(CONTENT), without_length(CONTENT)], ids=["announced", "not"])
def test_what_is_larger_than_is_taken_is_given_up(
    server: Loopback, tmp_path: Path, behaviour: Behaviour
) -> None:
    with pytest.raises(DownloadError, match="more than 1 MB, the most that is taken"):
        without_checksum(tmp_path / "m", server.serve("/model", behaviour), max_bytes=len(CONTENT) - 1)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []

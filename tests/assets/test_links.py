"""Links as people share them, and the files behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from assets.misbehaving_server import (
    Answer,
    Behaviour,
    Loopback,
    attached,
    loopback,
    page,
    redirects_to,
    says,
)
from ultimate_rvc.assets import google_drive, pixeldrain, remote_file
from ultimate_rvc.assets.connection import Patience
from ultimate_rvc.assets.links import find_remote_file, is_link, pasted_link
from ultimate_rvc.assets.remote_file import Asker, RemoteFile
from ultimate_rvc.errors import CancelledError, DownloadError
from ultimate_rvc.progress import Progress

SHA256 = hashlib.sha256(b"voice").hexdigest()
ASKER = Asker(patience=Patience(connect_seconds=5, stall_seconds=0.3, attempts=2, wait_seconds=0.01))
DRIVE_ID = "1AbCdEfGhIjKlMnOpQrStUvWxYz012345"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback() as running:
        monkeypatch.setenv("URVC_HF_ENDPOINT", running.url)
        monkeypatch.setattr(google_drive, "ENDPOINT", running.url)
        monkeypatch.setattr(pixeldrain, "ENDPOINT", running.url)
        yield running


def find(url: str) -> RemoteFile:
    return find_remote_file(url, ASKER)


def as_json(value: object, code: int = 200) -> Behaviour:
    text = json.dumps(value).encode()
    return lambda request: request.body(text, code=code, Content_Type="application/json")


# --- Hugging Face ------------------------------------------------------------------------------


def large_file(request: Answer) -> None:
    """As the site answers about a file in its large file storage."""
    told = {"X_Linked_Size": "123", "X_Linked_Etag": f'"{SHA256}"', "Location": "https://cdn.example/x"}
    request.status(302, **told)


@pytest.mark.parametrize(
    "link",
    [
        "https://huggingface.co/team/voices/blob/main/a%20b/my%20voice.zip",
        "https://huggingface.co/team/voices/resolve/main/a%20b/my%20voice.zip?download=true",
        "https://hf.co/team/voices/raw/main/a%20b/my%20voice.zip#L1",
        "  https://www.huggingface.co/team/voices/blob/main/a b/my voice.zip ",
    ],
)
def test_pages_of_a_file_become_the_file_with_its_size_and_checksum(server: Loopback, link: str) -> None:
    server.serve("/team/voices/resolve/main/a%20b/my%20voice.zip", large_file)
    found = find(link)
    assert found.url == f"{server.url}/team/voices/resolve/main/a%20b/my%20voice.zip"
    assert (found.file_name, found.size_bytes, found.sha256) == ("my voice.zip", 123, SHA256)
    assert found.page == "https://huggingface.co/team/voices/blob/main/a b/my voice.zip"


def test_other_repositories_and_revisions_of_hugging_face(server: Loopback) -> None:
    server.serve("/datasets/team/voices/resolve/refs%2Fpr%2F1/v.pth", says(200))
    found = find("https://huggingface.co/datasets/team/voices/blob/refs%2Fpr%2F1/v.pth")
    assert found.url.endswith("/datasets/team/voices/resolve/refs%2Fpr%2F1/v.pth")
    assert (found.size_bytes, found.sha256) == (None, None)


def test_a_renamed_repository_is_followed_to_what_is_stated(server: Loopback) -> None:
    server.serve("/old/voices/resolve/main/v.pth", says(307, Location="/new/voices/resolve/main/v.pth"))
    server.serve("/new/voices/resolve/main/v.pth", large_file)
    assert find("https://huggingface.co/old/voices/blob/main/v.pth").sha256 == SHA256


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_file_that_is_not_public_is_told(server: Loopback, code: int) -> None:
    server.serve("/team/voices/resolve/main/v.pth", says(code))
    with pytest.raises(DownloadError, match=rf"no public file 'v\.pth' in team/voices \({code}\)"):
        find("https://huggingface.co/team/voices/blob/main/v.pth")


def test_a_busy_site_is_asked_again(server: Loopback) -> None:
    server.serve("/team/voices/resolve/main/v.pth", says(503), large_file)
    assert find("https://huggingface.co/team/voices/blob/main/v.pth").size_bytes == 123
    server.serve("/team/voices/resolve/main/v.pth", says(503))
    with pytest.raises(DownloadError, match="it answers 503"):
        find("https://huggingface.co/team/voices/blob/main/v.pth")


def listing(*paths: str) -> Behaviour:
    entries = [{"type": "file", "path": path, "lfs": {"oid": SHA256, "size": 5}} for path in paths]
    return as_json([{"type": "directory", "path": "x"}, *entries, {"type": "file"}, 3])


def test_the_only_voice_of_a_repository_is_taken_with_its_index(server: Loopback) -> None:
    tree = "GET /api/models/team/voices/tree/main/"
    names = ("README.md", "a/v.pth", "a/D_1.pth", "a/trained_x.index", "a/added x.index")
    server.serve(tree, listing(*names))
    for link in ("https://huggingface.co/team/voices", "https://huggingface.co/team/voices/tree/main/"):
        found = find(link)
        assert (found.url, found.sha256) == (f"{server.url}/team/voices/resolve/main/a/v.pth", SHA256)
        assert found.index is not None
        assert found.index.url == f"{server.url}/team/voices/resolve/main/a/added%20x.index"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("one.zip", "two.pth"), r"several voices \(one\.zip, two\.pth\)"),
        (("README.md",), "lists no voice"),
    ],
)
def test_a_repository_without_exactly_one_voice_is_told(
    server: Loopback, names: tuple[str, ...], told: str
) -> None:
    server.serve("GET /api/models/team/voices/tree/main/", listing(*names))
    with pytest.raises(DownloadError, match=told):
        find("https://huggingface.co/team/voices")


def test_a_listing_in_another_form_is_told(server: Loopback) -> None:
    tree = "GET /api/models/team/voices/tree/main/"
    for behaviour in (as_json({"a": 1}), page("<html>"), as_json({}, 404)):
        server.serve(tree, behaviour)
        with pytest.raises(DownloadError):
            find("https://huggingface.co/team/voices")


# --- Google Drive ------------------------------------------------------------------------------

CONFIRM_PAGE = """<!DOCTYPE html><html><body><p class="uc-warning-caption">Google can't scan it.</p>
<span class="uc-name-size"><a href="/open?id=1">Sänger &amp; Co.zip</a> (1.2G)</span>
<form id="download-form" action="{action}" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="{id}">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="12-ab">
</form></body></html>"""


@pytest.mark.parametrize(
    "link",
    [
        f"https://drive.google.com/file/d/{DRIVE_ID}/view?usp=sharing",
        f"https://drive.google.com/file/u/0/d/{DRIVE_ID}/edit",
        f"https://drive.google.com/open?id={DRIVE_ID}",
        f"https://drive.google.com/uc?export=download&id={DRIVE_ID}",
        f"https://docs.google.com/uc?id={DRIVE_ID}",
        f"https://drive.usercontent.google.com/download?id={DRIVE_ID}&confirm=t",
    ],
)
def test_the_confirm_page_of_a_large_file_is_answered(server: Loopback, link: str) -> None:
    confirm = CONFIRM_PAGE.format(action=f"{server.url}/download", id=DRIVE_ID)
    server.serve("GET /download", page(confirm))
    found = find(link)
    query = parse_qs(urlsplit(found.url).query)
    assert {name: query[name] for name in ("id", "confirm", "uuid")} == {
        "id": [DRIVE_ID],
        "confirm": ["t"],
        "uuid": ["12-ab"],
    }
    assert found.file_name == "Sänger & Co.zip"
    assert found.page == f"https://drive.google.com/file/d/{DRIVE_ID}/view"


def test_a_small_file_needs_no_answer(server: Loopback) -> None:
    server.serve("GET /download", attached(b"voice", "v.pth", Content_Type="application/octet-stream"))
    found = find(f"https://drive.google.com/file/d/{DRIVE_ID}/view?resourcekey=0-xyz")
    assert found.file_name == "v.pth"
    assert parse_qs(urlsplit(found.url).query)["resourcekey"] == ["0-xyz"]


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (page("<p>Sorry, quota exceeded for this file</p>"), "downloaded too often"),
        (page("<p>Not found</p>", 404), "has no file"),
        (page("<p>Sign in</p>", 403), "not shared with everyone"),
        (page("<p>Hello</p>"), "no download"),
        (
            page(CONFIRM_PAGE.format(action="https://evil.example/x", id=DRIVE_ID)),
            "evil.example, which is not",
        ),
    ],
)
def test_what_google_drive_does_not_give_is_told(server: Loopback, behaviour: Behaviour, told: str) -> None:
    server.serve("GET /download", behaviour)
    with pytest.raises(DownloadError, match=told):
        find(f"https://drive.google.com/file/d/{DRIVE_ID}/view")


@pytest.mark.parametrize(
    ("link", "told"),
    [
        (f"https://drive.google.com/drive/folders/{DRIVE_ID}?usp=sharing", "link is to a folder"),
        ("https://drive.google.com/", "names no file"),
        ("https://drive.google.com/open?id=../../x", "names no file"),
    ],
)
def test_links_that_name_no_file_of_google_drive(server: Loopback, link: str, told: str) -> None:
    with pytest.raises(DownloadError, match=told):
        find(link)
    assert server.requests == []


# --- pixeldrain --------------------------------------------------------------------------------

FACTS = {"id": "AbCd1234", "name": "v.zip", "size": 77, "hash_sha256": SHA256, "availability": ""}


@pytest.mark.parametrize("path", ["u/AbCd1234", "api/file/AbCd1234?download", "u/AbCd1234/"])
def test_a_page_of_pixeldrain_becomes_its_download(server: Loopback, path: str) -> None:
    server.serve("/api/file/AbCd1234/info", as_json(FACTS))
    found = find(f"https://pixeldrain.com/{path}")
    assert found.url == f"{server.url}/api/file/AbCd1234?download"
    assert (found.file_name, found.size_bytes, found.sha256) == ("v.zip", 77, SHA256)
    assert found.page == "https://pixeldrain.com/u/AbCd1234"


def test_a_list_of_pixeldrain_with_one_voice(server: Loopback) -> None:
    index = {**FACTS, "id": "index", "name": "v.index"}
    server.serve("/api/list/LiSt1234", as_json({"files": [{**FACTS, "name": "v.pth"}, index]}))
    found = find("https://pixeldrain.com/l/LiSt1234")
    assert found.file_name == "v.pth"
    assert found.index is not None
    assert found.index.file_name == "v.index"


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (as_json({"success": False}, 404), "no such file"),
        (as_json({**FACTS, "availability": "file_rate_limited_captcha_required"}), "withholds the file"),
        (as_json({"message": "blocked"}, 451), r"answered 451 \(blocked\)"),
        (as_json([]), "answered 200"),
        (as_json({**FACTS, "id": "../x"}), "unknown form"),
        (page("<html>"), "no JSON"),
    ],
)
def test_what_pixeldrain_does_not_give_is_told(server: Loopback, behaviour: Behaviour, told: str) -> None:
    server.serve("/api/file/AbCd1234/info", behaviour)
    with pytest.raises(DownloadError, match=told):
        find("https://pixeldrain.com/u/AbCd1234")


# --- any link ----------------------------------------------------------------------------------


def test_any_other_link_is_the_file_itself() -> None:
    found = find("https://user:secret@example.com/a/my%20voice.zip?token=secret#x")
    assert (found.file_name, found.sha256) == ("my voice.zip", None)
    assert found.page == "https://example.com/a/my%20voice.zip"
    assert "secret" in found.url  # it is needed to fetch the file, and shown nowhere


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("http://example.com/v.zip", "use its https:// link"),
        ("ftp://example.com/v.zip", "is no link to a file"),
        ("file:///etc/passwd", "is no link to a file"),
        ("https://", "is no link to a file"),
        ("https://[::1", "is no link"),
        ("https://example.com:x/", "is no link"),
        ("https://mega.nz/file/abc#key", "Mega gives files to browsers only"),
    ],
)
def test_links_that_cannot_be_followed(link: str, told: str) -> None:
    with pytest.raises(DownloadError, match=told):
        find(link)


def test_a_link_is_told_from_a_path() -> None:
    assert is_link(" HTTPS://x/y")
    assert not is_link("voices/https/x.pth")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "[::1]", "10.0.0.5", "169.254.169.254", "192.168.1.1", "[fe80::1]", "0.0.0.0"]
)
def test_a_page_that_others_reach_asks_nothing_of_this_network(address: str) -> None:
    with pytest.raises(DownloadError, match="this machine or its network"):
        remote_file.check_url(f"https://{address}/v.zip", allow_local=False)


def test_names_that_stand_for_this_network_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(2, 1, 6, "", ("93.184.216.34", 0)), (2, 1, 6, "", ("10.1.2.3", 0))]
    monkeypatch.setattr(remote_file.socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(DownloadError, match="this machine or its network"):
        remote_file.check_url("https://harmless.example/v.zip", allow_local=False)
    remote_file.check_url("https://harmless.example/v.zip", allow_local=True)


def test_a_server_cannot_lead_to_where_a_link_may_not(server: Loopback) -> None:
    for target in ("http://example.com/x", "file:///etc/passwd", "ftp://x/y"):
        server.serve("GET /download", redirects_to(target))
        with pytest.raises(DownloadError, match=r"https://"):
            find(f"https://drive.google.com/file/d/{DRIVE_ID}/view")


def test_a_question_can_be_cancelled_while_a_site_is_silent(server: Loopback) -> None:
    server.serve("GET /download", server.stalls_after(b"x" * 100, 0))
    progress = Progress()
    progress.cancel()
    with pytest.raises(CancelledError):
        find_remote_file(f"https://drive.google.com/open?id={DRIVE_ID}", Asker(progress=progress))


def test_a_site_that_is_not_there_is_told(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixeldrain, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="there is no connection"):
        find("https://pixeldrain.com/u/AbCd1234")


@pytest.mark.parametrize(
    ("pasted", "link"),
    [
        (" https://example.org/a.pth ", "https://example.org/a.pth"),
        ("<https://example.org/a.pth>", "https://example.org/a.pth"),
        ('"http://localhost:80/a"', "http://localhost:80/a"),
        (
            "huggingface.co/user/voice/resolve/main/a.pth",
            "https://huggingface.co/user/voice/resolve/main/a.pth",
        ),
        ("youtu.be/abc", "https://youtu.be/abc"),
        ("demo", "demo"),
        ("song.mp3", "song.mp3"),
        ("my voices/a.pth", "my voices/a.pth"),
        ("../a.pth", "../a.pth"),
    ],
)
def test_a_pasted_link_is_understood(pasted: str, link: str) -> None:
    assert pasted_link(pasted) == link

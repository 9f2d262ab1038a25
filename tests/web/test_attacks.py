"""Somebody who means harm, on a page that others reach: refused in one sentence, and the server lives on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import stat
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import handle_file

from jobs.patience import eventually
from ultimate_rvc.paths import packaged_assets_dir
from voice_factory import write_executing_voice, write_voice
from web.server_process import PATIENCE_SECONDS, ServerProcess, server_process

UPLOAD_LIMIT = 1_000_000  # bytes
BODIES = 40  # to each endpoint
AT_ONCE = 16
HOSTILE_TEXTS = (
    "/etc/passwd", "../../../../etc/passwd", "..", "demo/../../x", "%2e%2e/%2e%2e/etc/passwd",
    "~/.ssh/id_rsa", "file:///etc/passwd", "http://127.0.0.1:1/x", "\\\\host\\share", "C:\\x", "a\0b", "",
    "<script>x</script>", "x" * 5000, "'; DROP TABLE job; --", "{0.__class__}", "$(touch harmed)",
)  # fmt: skip
HOSTILE_NUMBERS = (0, -1, 1, 0.5, -1e308, 1e-300, 2**31, 2**63 - 1, -(2**63), 2**63, 2**200, True)
NAMES = ("path", "url", "meta", "conversion", "effects", "backing", "index_path", "n_semitones", "__proto__")
# A sentence of ours never has these; what Python or Gradio say about their own insides does.
INNER_WORKINGS = (
    "Traceback",
    "site-packages",
    'File "',
    " object at 0x",
    "errors.pydantic.dev",
)
A_BUG = "This is a bug"  # a sentence, but an endpoint's should say what is wrong with the body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    machine = tmp_path_factory.mktemp("machine")
    options = ("--max-upload-mb", str(UPLOAD_LIMIT // 10**6))
    with server_process(machine, *options, host="0.0.0.0") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_harmed(server: ServerProcess) -> Iterator[None]:
    """After every attack the server answers, and nothing was written but below its own folders."""
    before = listing(server)
    yield
    assert server.process.poll() is None, server.log
    answer = request(server, "POST", "gradio_api/run/voices", json={"data": ["starter-anna"]})
    assert answer.json()["data"][0][0]["name"] == "starter-anna"
    assert listing(server) == before


def listing(server: ServerProcess) -> list[str]:
    """All that must stay as it is: around the home, at its top, and what ships with the program."""
    # .cache and .config: by matplotlib; machine.json: how fast the machine is.
    own = {"audio", "voice_models", "configs", ".cache", ".config", "machine.json"}
    around = [path for folder in ("cwd", "tmp") for path in (server.machine / folder).rglob("*")]
    home = [path for path in server.home.iterdir() if path.name not in own]
    voices = server.home / "voice_models"
    imported = [path for path in voices.iterdir() if path.is_dir()] if voices.is_dir() else []
    # Beside voices that ship, the library notes what it has checked.
    shipped = [path for path in packaged_assets_dir().rglob("*") if not path.name.startswith(".")]
    return sorted(map(str, [*around, *home, *imported, *shipped]))


def uploads(server: ServerProcess) -> list[Path]:
    """What was uploaded and kept; Gradio makes a folder of its own there, when it first likes."""
    found = (server.home / "audio" / "uploads").rglob("*")
    return sorted(path for path in found if path.name != "vibe_edit_history")


TRIES = 5


def request(server: ServerProcess, method: str, path: str, **options: Any) -> httpx.Response:
    # Without keeping the connection: after some refusals the server closes it.
    headers = {"Connection": "close", **options.pop("headers", {})}
    return httpx.request(method, server.url + path, headers=headers, timeout=PATIENCE_SECONDS, **options)


def assert_one_sentence(told: object) -> None:
    assert isinstance(told, str)
    assert told, "refused without a word"
    assert "\n" not in told.strip()
    assert not [word for word in INNER_WORKINGS if word in told], told


# --- voices ------------------------------------------------------------------------------------


def slipping_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "slip.zip", "w") as archive:
        archive.writestr("../../../harmed.pth", write_voice(folder / "v.pth").read_bytes())
    return folder / "slip.zip"


def bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.pth", bytes(500_000_000))
    return folder / "bomb.zip"


def link_zip(folder: Path) -> Path:
    entry = zipfile.ZipInfo("voice.pth")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "link.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return folder / "link.zip"


def pickle_in_zip(folder: Path) -> Path:
    voice = write_executing_voice(folder / "inner.pth", Path("harmed"))
    with zipfile.ZipFile(folder / "pickle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(voice, "voice.pth")
    return folder / "pickle.zip"


def executing(folder: Path) -> Path:
    return write_executing_voice(folder / "executing.pth", Path("harmed"))


def executing_legacy(folder: Path) -> Path:
    return write_executing_voice(folder / "legacy.pth", Path("harmed"), legacy=True)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (slipping_zip, "leaves the archive"),
        (bomb, "more than a hundredfold"),
        (link_zip, "holds a link"),
        (executing, "posix.system|nt.system|code"),
        (executing_legacy, "posix.system|nt.system|code"),
        (pickle_in_zip, "posix.system|nt.system|code"),
    ],
)
def test_a_hostile_voice_is_not_imported(
    server: ServerProcess, tmp_path: Path, make: Callable[[Path], Path], told: str
) -> None:
    """The marker ``harmed`` would appear in the working folder of the server or of its worker."""
    client = server.client()
    job = client.predict([handle_file(make(tmp_path))], "", "", "me", api_name="/import_voice")
    while job["state"] in ("queued", "running"):
        job = client.predict(job["id"], 60, "me", api_name="/wait_for_job")
    assert job["state"] == "failed"
    assert_one_sentence(job["error"])
    assert [word for word in told.split("|") if word in job["error"]], job["error"]
    assert not any(path.name == "harmed" for path in server.machine.rglob("*"))


# --- files of the machine ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "gradio_api/file=%252fetc%252fpasswd",
        "gradio_api/file=file:///etc/passwd",
        "gradio_api/file=/proc/self/environ",
        "gradio_api/file=HOME/audio/jobs/jobs.sqlite3",
        "gradio_api/file=HOME/audio/output/../jobs/jobs.sqlite3",
        "gradio_api/file=HOME/audio/output/link",
        "gradio_api/file/%2e%2e/%2e%2e/etc/passwd",
        "gradio_api/file=http://127.0.0.1:1/x",
        "gradio_api/file=https:%2f%2fexample.com/",
        "gradio_api/file=HTTP://example.com/",
        "gradio_api/file/http://example.com/",
        "gradio_api/proxy=http://127.0.0.1:1/x",
        "gradio_api/proxy=https://example.hf.space/x",
        "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "assets/..%2f..%2f..%2f..%2fetc/passwd",
        "svelte/..%2f..%2fetc/passwd",
        "theme.css/../../etc/passwd",
        "gradio_api/custom_component/1/client/component/..%2f..%2f..%2fetc/passwd",
        "gradio_api/stream/x/1/1/playlist-file",
        "gradio_api/deep_link?session_hash=../../../../etc/passwd",
        "monitoring/summary",
        "gradio_api/vibe-code",
    ],
)
def test_no_file_of_the_machine_is_given(server: ServerProcess, path: str) -> None:
    output = server.home / "audio" / "output"
    (output / "link").unlink(missing_ok=True)
    (output / "link").symlink_to("/etc/passwd")
    answer = request(server, "GET", path.replace("HOME", str(server.home)))
    assert "root:" not in answer.text
    assert b"SQLite" not in answer.content
    assert "PATH=" not in answer.text
    if "deep_link" not in path:  # that one answers with an empty name
        assert 400 <= answer.status_code < 500
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", ["../../../harmed", "..", "/tmp/harmed", "..\\..\\harmed", "harmed\0.pth"])
def test_an_upload_stays_in_its_folder_whatever_its_name(server: ServerProcess, name: str) -> None:
    answer = request(server, "POST", "gradio_api/upload", files={"files": (name, b"content")})
    if answer.status_code == 200:
        (path,) = answer.json()
        assert Path(path).resolve().is_relative_to(server.home / "audio" / "uploads")
    else:
        assert_one_sentence(answer.json()["detail"])


def test_no_endpoint_takes_a_file_that_was_not_uploaded(server: ServerProcess) -> None:
    """As value of every parameter of every endpoint, and as one file of several."""
    uploads = server.home / "audio" / "uploads"
    uploads.mkdir(exist_ok=True)
    (uploads / "link").symlink_to("/etc")
    paths = [
        "/etc/passwd", str(uploads / "link" / "passwd"), f"{uploads}/../jobs/jobs.sqlite3", str(uploads),
        "http://127.0.0.1:1/x", "https://example.com/voice.pth", "file:///etc/passwd", "x" * 5000, "a\0b", 5,
    ]  # fmt: skip
    widths = {name: width for name, width in endpoints(server).items() if width}
    tried = [(name, "/etc/passwd") for name in widths] + [("/cover", path) for path in paths]
    for name, path in tried:
        file = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "song.wav"}
        for value in (file, [file], {"conversion": {"index_path": file}}):
            body = {"data": [value] * widths[name]}
            answer = request(server, "POST", f"gradio_api/call{name}", json=body)
            assert answer.status_code == 400, f"{name} took {path}"
            assert_one_sentence(answer.json()["detail"])
    (uploads / "link").unlink()


# --- other sites, and too much -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["queue/join", "call/voices", "run/voices", "upload", "cancel", "stream/x"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_post_of_another_site_is_refused(server: ServerProcess, path: str, headers: dict[str, str]) -> None:
    uploads = sorted((server.home / "audio" / "uploads").rglob("*"))
    answer = request(
        server, "POST", f"gradio_api/{path}", headers=headers, files={"files": ("harmed", b"content")}
    )
    assert answer.status_code == 403
    assert_one_sentence(answer.text)
    assert sorted((server.home / "audio" / "uploads").rglob("*")) == uploads


def chunks(size: int) -> Iterator[bytes]:
    """A form with one file, whose length is not told beforehand."""
    yield b'--edge\r\nContent-Disposition: form-data; name="files"; filename="big.wav"\r\n\r\n'
    for _ in range(size // 100_000):
        yield bytes(100_000)
    yield b"\r\n--edge--\r\n"


@pytest.mark.parametrize("is_told", [True, False])
def test_a_file_over_the_limit_is_refused_and_leaves_nothing(server: ServerProcess, is_told: bool) -> None:
    kept = uploads(server)
    size = 5 * UPLOAD_LIMIT
    form = {"Content-Type": "multipart/form-data; boundary=edge"}
    answer = None
    for _ in range(TRIES):
        # Who is refused in the middle of an upload may lose the answer with the connection.
        with contextlib.suppress(httpx.TransportError):
            if is_told:
                whole = {"files": ("big.wav", bytes(size))}
                answer = request(server, "POST", "gradio_api/upload", files=whole)
            else:
                answer = request(server, "POST", "gradio_api/upload", content=chunks(size), headers=form)
            break
    assert answer is not None
    assert answer.status_code == 413
    assert_one_sentence(answer.text)
    assert uploads(server) == kept


def test_an_upload_that_breaks_off_leaves_nothing(server: ServerProcess) -> None:
    kept = uploads(server)
    half = b"".join(chunks(500_000))[:-100_000]
    form = {"Content-Type": "multipart/form-data; boundary=edge"}
    request(server, "POST", "gradio_api/upload", content=half, headers=form)
    eventually(lambda: uploads(server) == kept)  # it is answered first


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"data": ["' + b"x" * 5_000_000 + b'"]}', 413),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, 400),
        (b'{"data": [NaN]}', 400),
        (b'{"data": [' + b"9" * 10_000 + b"]}", 400),
        (b"\xff\xfe{}", 400),
        (b"{", 400),
        (b"[1]", 400),
        (b'{"data": 5}', 422),
        (b'{"data": [], "fn_index": 99999, "session_hash": "x"}', 400),
        (b'{"data": [], "fn_index": -1, "session_hash": "x"}', 400),
        (b'{"data": [], "fn_index": "x", "session_hash": "x"}', 422),
        (b'{"data": [], "session_hash": [1]}', 422),
    ],
)
@pytest.mark.parametrize("path", ["queue/join", "call/no_such_endpoint", "run/no_such_endpoint"])
def test_a_body_of_another_form_is_refused(
    server: ServerProcess, path: str, body: bytes, status: int
) -> None:
    answer = request(
        server, "POST", f"gradio_api/{path}", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status if path == "queue/join" else 400 <= answer.status_code < 500
    assert_one_sentence(answer.json()["detail"])


# --- random bodies -----------------------------------------------------------------------------


def endpoints(server: ServerProcess) -> dict[str, int]:
    """Name of each endpoint, and how many values it takes."""
    named = request(server, "GET", "gradio_api/info").json()["named_endpoints"]
    return {name: len(endpoint["parameters"]) for name, endpoint in named.items()}


def random_value(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return draw.choice(HOSTILE_NUMBERS)
    if kind in (2, 3):
        return draw.choice(HOSTILE_TEXTS)
    if kind == 4:
        return "".join(chr(draw.randrange(1, 0x3000)) for _ in range(draw.randrange(30)))
    if kind == 5:
        return {"path": draw.choice(HOSTILE_TEXTS), "meta": {"_type": "gradio.FileData"}}
    if kind == 6:
        return [random_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {draw.choice(NAMES): random_value(draw, depth + 1) for _ in range(draw.randrange(4))}


async def answers(
    client: httpx.AsyncClient, bodies: list[dict[str, Any]], session_hash: str
) -> AsyncIterator[dict[str, Any]]:
    """What becomes of each body: ``detail`` when it was not even queued, else the endpoint's ``output``."""
    waited_for = set()
    for start in range(0, len(bodies), AT_ONCE):
        posts = [
            client.post("gradio_api/queue/join", json={**body, "session_hash": session_hash})
            for body in bodies[start : start + AT_ONCE]
        ]
        for answer in await asyncio.gather(*posts):
            assert answer.headers["content-type"] == "application/json", answer.text
            if answer.status_code == 200:
                waited_for.add(answer.json()["event_id"])
            else:
                yield answer.json()
    if not waited_for:
        return
    async with client.stream("GET", "gradio_api/queue/data", params={"session_hash": session_hash}) as stream:
        unread = b""
        async for part in stream.aiter_bytes():
            *messages, unread = (unread + part).split(b"\n\n")
            for message in map(json.loads, (whole.removeprefix(b"data: ") for whole in messages)):
                assert message["msg"] != "unexpected_error", message
                if message["msg"] == "process_completed":
                    waited_for.discard(message["event_id"])
                    yield {"success": message["success"], **message["output"]}
            if not waited_for:
                return


async def attack(server: ServerProcess, functions: dict[str, tuple[int, int]], count: int) -> list[str]:
    """Send ``count`` random bodies to each function, of so many values; return what was told."""
    sentences = []
    # A connection that is kept may be closed by the server, which waits 5 s for more, in the moment it is used again.
    unkept = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS, limits=unkept) as client:
        for name, (number, width) in functions.items():
            draw = random.Random(name)
            bodies = []
            for _ in range(count):
                given = width if draw.random() < 0.8 else draw.randrange(8)
                bodies.append({"fn_index": number, "data": [random_value(draw) for _ in range(given)]})
            told = [answer async for answer in answers(client, bodies, f"attack{number}")]
            assert len(told) == count
            for answer in told:
                if not answer.get("success"):
                    sentences.append(answer.get("error", answer.get("detail")))
                    assert_one_sentence(sentences[-1])
                assert "root:" not in json.dumps(answer)
    return sentences


def attacked(server: ServerProcess, functions: dict[str, tuple[int, int]], bodies: int) -> list[str]:
    # In a thread: the browser of the tests before keeps a loop of its own in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(attack(server, functions, bodies))).result()


def functions_of(server: ServerProcess) -> dict[str, tuple[int, int]]:
    """What the page of one language calls: by name, or by number where it has none; its number and width."""
    config = request(server, "GET", "config").json()
    of_page = set(config["page"][""]["dependencies"])
    return {
        str(function["api_name"] or function["id"]): (function["id"], len(function["inputs"]))
        for function in config["dependencies"]
        if function["backend_fn"] and function["id"] in of_page
    }


def test_random_bodies_to_each_endpoint_are_refused_in_one_sentence(server: ServerProcess) -> None:
    named = {name.removeprefix("/") for name in endpoints(server)}
    functions = {name: where for name, where in functions_of(server).items() if name in named}
    assert len(functions) == len(named)
    sentences = attacked(server, functions, BODIES)
    assert not [sentence for sentence in sentences if A_BUG in sentence]


def test_random_bodies_to_what_only_the_page_calls_are_refused_too(server: ServerProcess) -> None:
    named = {name.removeprefix("/") for name in endpoints(server)}
    functions = {name: where for name, where in functions_of(server).items() if name not in named}
    attacked(server, functions, BODIES // 40)

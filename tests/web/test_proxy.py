"""The page below a path of a proxy: everything is found there, and what is refused is refused there too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from gradio_client import Client, handle_file
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from websockets.sync.client import connect

from ultimate_rvc.errors import SettingError
from ultimate_rvc.server.proxy import BehindProxy
from ultimate_rvc.web.server import ServerOptions
from voice_factory import write_voice
from web.nginx import CONFIG, PREFIX, nginx_before, nginx_or_skip
from web.server_process import PATIENCE_SECONDS, PROGRAM, ServerProcess, server_process

KEY = {"Authorization": "Bearer a long enough secret"}
# How the proxy is set up, and what the server is told of it.
WAYS: dict[str, dict[str, Any]] = {
    "takes the path off": {"root_path": "/rvc", "strips": True},
    "leaves the path on": {"root_path": "/rvc", "strips": False},
    "tells path and host in headers": {
        "root_path": "/",
        "strips": True,
        "host_header": "X-Forwarded-Host",
        "more": "proxy_set_header X-Forwarded-Prefix /rvc;",
    },
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ServerProcess]]:
    """The server that is told a root path, one for all ways that need it."""
    with ExitStack() as running:

        @cache
        def told(root_path: str) -> ServerProcess:
            options = ("--root-path", root_path)
            variables = {"URVC_API_KEY": "a long enough secret"}
            machine = tmp_path_factory.mktemp("machine")
            return running.enter_context(server_process(machine, *options, variables=variables))

        yield told


@pytest.fixture(scope="module", params=WAYS)
def url(
    request: pytest.FixtureRequest,
    servers: Callable[[str], ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The page's address as a browser knows it."""
    nginx_or_skip()
    way = dict(WAYS[request.param])
    server = servers(way.pop("root_path"))
    with nginx_before(server, tmp_path_factory.mktemp("nginx"), **way) as found:
        yield found


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, timeout=PATIENCE_SECONDS, **more)


def origin(url: str) -> str:
    return f"http://{urlsplit(url).netloc}"


def test_the_page_knows_the_address_below_which_it_is_served(url: str) -> None:
    for page in ("", "zh-TW"):
        (layout,) = get(url + page).text.split("window.gradio_config = ")[1:]
        config, _ = json.JSONDecoder().raw_decode(layout)
        assert urlsplit(config["root"]).path == PREFIX
        assert get(f"{origin(url)}{PREFIX}/theme.css").status_code == 200


def test_a_file_is_uploaded_and_a_job_is_done(url: str, tmp_path: Path) -> None:
    client = Client(url, verbose=False, httpx_kwargs={"timeout": PATIENCE_SECONDS})
    name = f"behind{urlsplit(url).port}"  # the server may know the voice of another proxy
    voice = write_voice(tmp_path / f"{name}.pth", "Applio", embedder="starter", sample_rate=32000)
    job = client.predict([handle_file(voice)], "", "", "me", api_name="/import_voice")
    done = client.predict(job["id"], 60, "me", api_name="/wait_for_job")
    assert done["state"] == "done", done["error"]
    assert client.predict(name, api_name="/voice")["embedder"] == "starter"


def test_a_result_is_fetched(url: str, tmp_path: Path) -> None:
    client = Client(url, verbose=False, httpx_kwargs={"timeout": PATIENCE_SECONDS})
    text = tmp_path / "words.txt"
    text.write_text("uploaded")
    sent = httpx.post(
        f"{url}gradio_api/upload", files={"files": text.open("rb")}, timeout=PATIENCE_SECONDS
    ).json()
    assert get(f"{url}gradio_api/file={sent[0]}").text == "uploaded"
    assert client.predict("me", 10, api_name="/jobs") is not None


def test_the_api_answers_below_the_path(url: str) -> None:
    assert get(f"{url}healthz").json()["status"] == "ok"
    assert get(f"{url}v1/voices").status_code == 401
    voices = get(f"{url}v1/voices", headers=KEY).json()["voices"]
    assert "starter" in [voice["name"] for voice in voices]


def test_the_live_socket_shakes_hands(url: str) -> None:
    address = url.replace("http://", "ws://") + "live/socket"
    wish = {"voice": "nobody", "rate": 48_000, "settings": {}, "record": False}
    with connect(address, origin=origin(url), open_timeout=PATIENCE_SECONDS) as socket:  # type: ignore[arg-type]
        socket.send(json.dumps(wish))
        assert "nobody" in json.loads(socket.recv(PATIENCE_SECONDS))["error"]


def test_what_is_refused_is_refused_below_the_path(url: str) -> None:
    assert get(f"{url}gradio_api/proxy=http://127.0.0.1:1/x").status_code == 403
    assert get(f"{url}gradio_api/file=/etc/passwd").status_code in (403, 404)
    asked = {"headers": {"Origin": "https://elsewhere.example"}, "json": {}, "timeout": PATIENCE_SECONDS}
    assert httpx.post(f"{url}gradio_api/queue/join", **asked).status_code == 403
    asked["headers"] = {"Origin": origin(url)}
    assert httpx.post(f"{url}gradio_api/queue/join", **asked).status_code == 422
    asked["headers"] = {"Origin": origin(url), **KEY}
    assert httpx.post(f"{url}v1/jobs", **asked).status_code != 403


def test_a_redirection_stays_below_the_path(url: str) -> None:
    answer = get(f"{url}zh-TW/")
    assert answer.is_redirect
    assert urlsplit(answer.headers["location"]).path == f"{PREFIX}/zh-TW"


def test_a_proxy_makes_the_page_one_that_others_reach() -> None:
    assert ServerOptions().is_local
    assert not ServerOptions(root_path="/").is_local


@pytest.mark.parametrize(
    "wrong", ["rvc", "", "https://example.com/rvc", "/r vc", "/../rvc", "//rvc", "/rvc?a"]
)
def test_a_root_path_that_is_none_is_told(wrong: str) -> None:
    with pytest.raises(SettingError, match=r"root_path is .* must begin with"):
        ServerOptions(root_path=wrong)


def test_a_wrong_root_path_ends_the_program_with_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "--root-path", "rvc"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: root_path is 'rvc', but must begin with \"/\"")
    assert ended.stderr.count("\n") == 1


def seen(request: Request) -> Response:
    return JSONResponse(str(request.url))


def away(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"])


def behind(root_path: str) -> TestClient:
    routes = [Route("/", seen), Route("/a", seen), Route("/away", away)]
    app = Starlette(routes=routes, middleware=[Middleware(BehindProxy, root_path=root_path)])
    return TestClient(app, base_url="http://inside:1", follow_redirects=False)


@pytest.mark.parametrize("asked", ["/a", "/rvc/a"])
def test_an_application_sees_what_the_browser_asked_for(asked: str) -> None:
    headers = {"X-Forwarded-Host": "example.com, inner:2", "X-Forwarded-Proto": "https"}
    assert behind("/rvc").get(asked).json() == "http://inside:1/rvc/a"
    assert behind("/rvc").get(asked, headers=headers).json() == "https://example.com/rvc/a"
    told = headers | {"X-Forwarded-Prefix": "/rvc/"}
    assert behind("").get(asked, headers=told).json() == "https://example.com/rvc/a"


def test_a_part_that_only_begins_like_the_path_is_not_taken_off() -> None:
    assert behind("/rvc").get("/rvcs").status_code == 404
    assert behind("/r").get("/a").json() == "http://inside:1/r/a"


def test_the_path_without_its_last_slash_leads_to_the_page() -> None:
    assert behind("/rvc").get("/rvc").headers["location"] == "/rvc/"


def test_a_prefix_that_is_no_path_is_refused() -> None:
    answer = behind("").get("/a", headers={"X-Forwarded-Prefix": "//elsewhere.example"})
    assert answer.status_code == 400
    assert answer.text.startswith("X-Forwarded-Prefix is ")


@pytest.mark.parametrize(
    ("to", "sent"),
    [
        ("/a", "/rvc/a"),
        ("/rvc/a", "/rvc/a"),
        ("http://inside:1/a?b=1", "http://inside:1/rvc/a?b=1"),
        ("https://elsewhere.example/a", "https://elsewhere.example/a"),
        ("a", "a"),
    ],
)
def test_a_redirection_is_led_below_the_path(to: str, sent: str) -> None:
    assert behind("/rvc").get("/away", params={"to": to}).headers["location"] == sent


def test_the_documented_nginx_is_the_one_that_is_tested() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "user-guide.md").read_text(encoding="utf-8")
    (shown,) = guide.split("```nginx\n")[1:]
    tested = CONFIG.format(
        user="", folder="", port="", upstream="http://127.0.0.1:7860/", more="", host_header="Host"
    )
    lines = [line.strip() for line in shown.partition("```")[0].splitlines()]
    directives = [line for line in lines if line and not line.startswith("#")]
    assert len(directives) > 8
    assert [line for line in directives if line not in [each.strip() for each in tested.splitlines()]] == []

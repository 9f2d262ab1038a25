"""Who is let in, how often, with how much; and that nothing that is sent makes a bug of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_files import tone
from server.conftest import Opened
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.errors import SettingError
from ultimate_rvc.server import keys
from ultimate_rvc.server.options import ApiOptions

KEY = "a long enough secret"
BEARER = {"Authorization": f"Bearer {KEY}"}
OPEN = ("/healthz", "/readyz")


def routes(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Method and address of everything that the document of the API lists."""
    document = asyncio.run(client.get("/openapi.json", headers=BEARER)).json()
    filled = {"{job_id}": "1", "{number}": "0", "{voice_id}": "starter", "{model_name}": "starter"}
    listed = []
    for path, methods in document["paths"].items():
        for name, value in filled.items():
            path = path.replace(name, value)
        listed += [(method.upper(), path) for method in methods]
    return listed


def test_without_a_key_or_with_a_wrong_one_nothing_but_health_answers(
    open_server: Callable[..., Opened],
) -> None:
    _, client = open_server(api_keys=(KEY,))
    for method, path in routes(client):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"xi-api-key": KEY + "x"}):
            answer = asyncio.run(client.request(method, path, headers=headers))
            if path in OPEN:
                assert answer.status_code == 200
            else:
                assert answer.status_code == 401, path
                assert "API key" in answer.json()["error"]["message"]
                assert answer.headers["www-authenticate"] == "Bearer"
    for headers in (BEARER, {"xi-api-key": KEY}, {"x-api-key": KEY}):
        assert asyncio.run(client.get("/v1/voices", headers=headers)).status_code == 200


def test_kept_keys_are_hashes_and_can_be_taken_back(open_server: Callable[..., Opened]) -> None:
    key = keys.new_key("phone")
    assert key not in keys.key_file().read_text()
    assert keys.key_file().stat().st_mode & 0o077 == 0
    with pytest.raises(SettingError, match="already"):
        keys.new_key("phone")
    _, client = open_server()
    assert (
        asyncio.run(client.get("/v1/voices", headers={"Authorization": f"Bearer {key}"})).status_code == 200
    )
    assert asyncio.run(client.get("/v1/voices")).status_code == 401
    keys.remove_key("phone")
    assert keys.all_keys([]).name_of(key) is None
    with pytest.raises(SettingError, match="There is no API key 'phone'"):
        keys.remove_key("phone")


def test_others_are_not_let_in_unasked(open_server: Callable[..., Opened]) -> None:
    with pytest.raises(SettingError, match="set is_open"):
        open_server(host="0.0.0.0")
    with pytest.raises(SettingError, match="at least 8"):
        open_server(api_keys=("short",))
    open_server(host="0.0.0.0", is_open=True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "evil.example"}, 403),  # a foreign name that points here
        ({"origin": "null"}, 403),
    ],
)
def test_other_origins_are_refused(
    open_server: Callable[..., Opened], headers: dict[str, str], status: int
) -> None:
    _, client = open_server()
    assert asyncio.run(client.get("/v1/voices", headers=headers)).status_code == status


def test_an_origin_that_was_asked_for_may_ask(open_server: Callable[..., Opened]) -> None:
    _, client = open_server(origins=("https://good.example",))
    answer = asyncio.run(client.get("/v1/voices", headers={"origin": "https://good.example"}))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    asked = {
        "origin": "https://good.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    assert asyncio.run(client.options("/v1/convert", headers=asked)).status_code == 200
    assert (
        asyncio.run(client.get("/v1/voices", headers={"origin": "https://evil.example"})).status_code == 403
    )
    with pytest.raises(SettingError, match="no origin"):
        ApiOptions(origins=("good.example",))


def test_a_key_has_so_many_requests_a_minute() -> None:
    now = 0.0
    rate = keys.RateLimit(3, clock=lambda: now)
    assert [rate.seconds_to_wait("a") for _ in range(3)] == [0, 0, 0]
    assert rate.seconds_to_wait("a") == pytest.approx(20)
    assert rate.seconds_to_wait("b") == 0  # another's is no concern
    now = 19.9
    assert rate.seconds_to_wait("a") > 0
    now = 20.1
    assert rate.seconds_to_wait("a") == 0
    now = 1000
    assert [rate.seconds_to_wait("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_too_many_requests_are_told_when_to_come_again(open_server: Callable[..., Opened]) -> None:
    _, client = open_server(requests_per_minute=2)
    answers = [asyncio.run(client.get("/v1/voices")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 30


@pytest.mark.parametrize("says_length", [True, False])
def test_what_is_too_large_is_refused_before_it_is_kept(
    open_server: Callable[..., Opened], says_length: bool
) -> None:
    api, client = open_server(max_upload_mb=1)

    async def pieces() -> Any:
        for _ in range(30):
            yield bytes(100_000)

    content = bytes(3_000_000) if says_length else pieces()
    answer = asyncio.run(client.post("/v1/convert?voice=starter", content=content))
    assert answer.status_code == 413
    assert "1 MB" in answer.json()["error"]["message"]
    assert list(api.work_folder.iterdir()) == []
    assert api.places.taken == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([
    "voice", "settings", "audio", "text", "input", "format", "response_format", "speed", "engine", "speaker", "link",
    "optimization", "params", "device", "name", "task", "model", "stream", "stream_format", "seed", "bitrate_kbps",
    "voice_settings", "language", "rate", "output", "source", "overwrite", "remove_background_noise",
])  # fmt: skip
VALUES = JSON | st.sampled_from(
    ["starter", "none", "../x", "/etc/passwd", "wav", "hibari", "-1", "1e999", "\0"]
)


def test_no_body_makes_a_bug_of_it(open_server: Callable[..., Opened]) -> None:
    """200 random bodies to each address that takes one: JSON, forms, bytes; what is good becomes a job at most."""
    api, client = open_server()
    posts = [path for method, path in routes(client) if method == "POST"]
    assert len(posts) >= 12
    random.seed(1)

    @given(
        fields=st.dictionaries(NAMES, VALUES, max_size=6),
        raw=st.binary(max_size=60),
        kind=st.sampled_from(["json", "form", "bytes", "broken json", "broken form"]),
    )
    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def sent(fields: dict[str, Any], raw: bytes, kind: str) -> None:
        asyncio.run(_send_to_all(client, posts, fields, raw, kind))

    sent()
    assert api.places.taken == 0
    assert list(api.work_folder.iterdir()) == []


async def _send_to_all(
    client: httpx.AsyncClient, posts: list[str], fields: dict[str, Any], raw: bytes, kind: str
) -> None:
    body: dict[str, Any] = {
        "json": {"content": json.dumps(fields), "headers": {"content-type": "application/json"}},
        "form": {
            "files": {"audio": ("a.wav", raw)},
            "data": {name: json.dumps(value) for name, value in fields.items()},
        },
        "bytes": {"content": raw},
        "broken json": {"content": raw, "headers": {"content-type": "application/json"}},
        "broken form": {"content": raw, "headers": {"content-type": "multipart/form-data; boundary=x"}},
    }[kind]
    for path in posts:
        if path == "/upload_model" and kind == "form":
            continue  # waits for the end of an import; test_clients.py sends it archives
        answer = await client.post(path, **body)
        assert answer.status_code in (200, 202, 400, 404, 413, 422, 429), (
            path,
            answer.status_code,
            answer.text,
        )
        if answer.status_code >= 400:
            told = answer.json()
            sentence = told["error"]["message"]
            assert sentence
            assert "Traceback" not in sentence
            assert told["detail"]["message"] == sentence


def test_an_unknown_address_is_told_in_our_words(open_server: Callable[..., Opened]) -> None:
    _, client = open_server()
    answer = asyncio.run(client.get("/v2/nothing"))
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404, "There is nothing at /v2/nothing; /docs lists all."
    )  # fmt: skip
    assert asyncio.run(client.get("/v1/jobs?limit=many")).json()["error"]["param"] == "limit"


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"settings": {"custom_embedder_model": "/etc"}}, "custom_embedder_model names a file of the server"),
        ({"settings": {"n_semitones": 300}}, "settings.n_semitones is 300"),
        ({"settings": {"semitons": 3}}, "There is no setting settings.semitons"),
        ({"voice": "/etc/passwd"}, "There is no voice '/etc/passwd'"),
        ({"format": "tape"}, "format is 'tape', but must be one of mp3"),
        ({"bitrate_kbps": "many"}, "bitrate_kbps must be a number"),
        ({"optimization": {"backend": "magic"}}, "backend"),
    ],
)
def test_what_is_wrong_is_named(
    open_server: Callable[..., Opened], tmp_path: Any, sent: dict[str, Any], sentence: str
) -> None:
    _, client = open_server()
    encode(tmp_path / "a.wav", tone(440, 0.2, 16_000), 16_000)
    data = {name: value if isinstance(value, str) else json.dumps(value) for name, value in sent.items()}
    answer = asyncio.run(
        client.post(
            "/v1/convert", files={"audio": (tmp_path / "a.wav").open("rb")}, data={"voice": "starter", **data}
        )
    )
    assert answer.status_code in (400, 404)
    assert sentence in answer.json()["error"]["message"]


def test_the_committed_document_is_that_of_the_code(open_server: Callable[..., Opened]) -> None:
    """Else run scripts/write_openapi.py."""
    _, client = open_server()
    committed = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
    assert (
        json.loads(committed.read_text(encoding="utf-8")) == asyncio.run(client.get("/openapi.json")).json()
    )

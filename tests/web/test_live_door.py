"""The socket of the tab Live: who may come, what is answered, one at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from starter_voice import recording
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.paths import output_dir
from ultimate_rvc.server.origins import OwnOrigin
from ultimate_rvc.web.live_door import NO_LOGIN, PATH, LiveDoor
from ultimate_rvc.web.texts import load_texts
from web.server_process import PATIENCE_SECONDS

ADDRESS = f"ws://localhost{PATH}"
RATE = 16_000
BLOCK_MS = 500
WISH: dict[str, Any] = {
    "voice": "starter",
    "rate": RATE,
    "settings": {"block_ms": BLOCK_MS, "context_ms": 500, "conversion": {"f0_methods": ["fcpe"]}},
}


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = Starlette(middleware=[Middleware(OwnOrigin, only_local=True), Middleware(LiveDoor)])
    with TestClient(app) as client:
        yield client


def said(socket: WebSocketTestSession) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(socket.receive_text())
    return answer


def ask(socket: WebSocketTestSession, **what: Any) -> None:
    socket.send_text(json.dumps(what))


def exchanged(socket: WebSocketTestSession, block: Any) -> tuple[Any, dict[str, Any]]:
    """What a block of sound is answered with."""
    socket.send_bytes(block.astype("<f4").tobytes())
    return np.frombuffer(socket.receive_bytes(), "<f4"), said(socket)["figures"]


def test_sound_comes_back_as_another_voice_settings_change_and_it_is_recorded(client: TestClient) -> None:
    size = RATE * BLOCK_MS // 1000
    first, second, third = recording("speech", 1.0, 1.5).reshape(3, size)
    with client.websocket_connect(ADDRESS) as socket:
        ask(socket, **WISH, record=True)
        assert said(socket)["ready"]["delay_ms"] == BLOCK_MS + 55
        heard, figures = exchanged(socket, first)
        assert len(heard) == size
        assert figures["load"] > 0
        assert figures["skipped"] == 0
        heard, _ = exchanged(socket, second)
        assert 0.01 < np.abs(heard).max() <= 1
        ask(socket, change={"index_rate": 7})
        assert "index_rate is 7.0, but must be from 0 to 1" in said(socket)["refused"]
        ask(socket, change={"index_rate": 0, "n_semitones": 5})
        last, _ = exchanged(socket, third)
        ask(socket, stop=True)
        recorded = said(socket)["recorded"]
    path = Path(unquote(recorded["url"].removeprefix("/gradio_api/file=")))
    assert path.parent == output_dir()
    kept = decode_mono(path, RATE)
    assert len(kept) == 3 * size
    np.testing.assert_allclose(kept[-size:], last, atol=2e-4)


def test_a_browser_that_is_gone_leaves_its_recording_and_makes_room(client: TestClient) -> None:
    before = set(output_dir().glob("live - starter*.wav"))
    with client.websocket_connect(ADDRESS) as socket:
        ask(socket, **WISH, record=True)
        assert "ready" in said(socket)
        exchanged(socket, recording("speech", 1.0, BLOCK_MS / 1000))
    with client.websocket_connect(ADDRESS) as socket:
        ask(socket, **WISH)
        assert "ready" in said(socket)
    end = time.monotonic() + PATIENCE_SECONDS
    while not (made := set(output_dir().glob("live - starter*.wav")) - before):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(decode_mono(made.pop(), RATE)) == RATE * BLOCK_MS // 1000


def test_only_one_browser_at_a_time_is_live(client: TestClient) -> None:
    with client.websocket_connect(ADDRESS) as first, client.websocket_connect(ADDRESS) as second:
        ask(first, **WISH)
        assert "ready" in said(first)
        ask(second, **WISH, language="zh-TW")
        assert said(second) == {"error": load_texts("zh-TW")("live.busy")}
        ask(first, stop=True)
        with pytest.raises(WebSocketDisconnect):
            first.receive_text()
    with client.websocket_connect(ADDRESS) as third:
        ask(third, **WISH)
        assert "ready" in said(third)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"voice": ""}, load_texts("en")("error.no_voice")),
        ({"voice": "/etc/passwd"}, load_texts("en")("error.unknown_voice", name="/etc/passwd")),
        ({"rate": 7}, "The sample rate 7 cannot be used"),
        ({"settings": {"block_ms": 5}}, "block_ms is 5, but must be from 100 to 1000"),
        ({"settings": {"conversion": {"sid": 99}}}, "sid is 99"),
        ({"settings": {"nothing": 5}}, "There is no setting nothing"),
        ({"settings": {"conversion": [5]}}, "The settings and their conversion must be objects"),
    ],
)
def test_a_wish_that_cannot_be_met_is_answered_in_one_sentence(
    client: TestClient, wish: dict[str, Any], sentence: str
) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        ask(socket, **{**WISH, **wish})
        assert said(socket)["error"].startswith(sentence)
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


@pytest.mark.parametrize("message", ["no JSON", "[1]", '{"a":' * 500, "x" * 20_000])
def test_a_first_message_that_is_no_wish_is_refused(client: TestClient, message: str) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_text(message)
        assert "no JSON object, or too long" in said(socket)["error"]


def test_sound_before_a_wish_is_refused(client: TestClient) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_bytes(b"1234")
        assert "no JSON object" in said(socket)["error"]


def test_the_page_of_another_site_gets_no_socket(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDenialResponse),
        client.websocket_connect(ADDRESS, headers={"origin": "https://elsewhere.example"}),
    ):
        pass


def test_a_page_with_a_password_lets_nobody_else_speak(client: TestClient) -> None:
    login = SimpleNamespace(auth={"user": "secret"}, cookie_id="abc", tokens={"token": "user"})

    class WithLogin(LiveDoor):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await super().__call__({**scope, "app": login}, receive, send)

    app = Starlette(middleware=[Middleware(WithLogin)])
    with TestClient(app) as stranger, stranger.websocket_connect(ADDRESS) as socket:
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == NO_LOGIN
    with (
        TestClient(app, cookies={"access-token-abc": "token"}) as user,
        user.websocket_connect(ADDRESS) as socket,
    ):
        ask(socket, voice="")
        assert "error" in said(socket)

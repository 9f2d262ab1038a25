"""The engine edge against a server on this machine that fails as Microsoft's does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from edge_tts import communicate, voices
from edge_tts.drm import DRM, generate_sec_ms_gec_v2

from tone_engine import read_by
from ultimate_rvc.assets.registry import OFFLINE_VARIABLE
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech import edge, engines
from ultimate_rvc.speech.edge import Engine, Patience, percent
from ultimate_rvc.speech.engines import open_engine

SHORT = Patience(20.0, (0.0, 0.0))
SERVER_TIME = 2_000_000_250.0  # of the server whose clock is right; tokens change every 300 s
TONE_SECONDS = 1.0
VOICES = [
    {"ShortName": "de-DE-KatjaNeural", "Locale": "de-DE", "Gender": "Female"},
    {"ShortName": "en-US-EmmaMultilingualNeural", "Locale": "en-US", "Gender": "Female"},
]


class Service:
    """Answers each connection as the next of ``ways`` says, and well when there are none left."""

    def __init__(self, mp3: bytes) -> None:
        self.mp3 = mp3
        self.ways: list[str] = []
        self.asked: list[str] = []
        self.address = ""

    async def list(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("list")
        way = self.ways.pop(0) if self.ways else "well"
        if way == "well":
            return web.json_response(VOICES)
        return {
            "503": web.Response(status=503),
            "page": web.Response(text="<html>Sign in to this network"),
            "empty": web.json_response([]),
            "other form": web.json_response({"voices": "none"}),
        }[way]

    async def speak(self, request: web.Request) -> web.StreamResponse:
        way = self.ways.pop(0) if self.ways else "well"
        refused = self._refused(way, request.query["Sec-MS-GEC"])
        if refused is not None:
            return refused
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive_str()
        self.asked.append(await socket.receive_str())
        await self._answer(way, socket, request)
        return socket

    def _refused(self, way: str, token: str) -> web.Response | None:
        date = {"Date": formatdate(SERVER_TIME, usegmt=True)}
        if way == "wrong clock":
            # Until the client has the server's time, which the token proves.
            if token == generate_sec_ms_gec_v2(SERVER_TIME):
                return None
            self.ways.insert(0, way)
            return web.Response(status=403, headers=date)
        if way == "forbidden":
            self.ways.insert(0, "forbidden again")  # edge-tts asks again by itself
        if way.startswith("forbidden"):
            return web.Response(status=403, headers=date)
        return web.Response(status=503) if way == "503" else None

    async def _answer(self, way: str, socket: web.WebSocketResponse, request: web.Request) -> None:
        audio = b"X-RequestId:1\r\nContent-Type:audio/mpeg\r\nPath:audio\r\n"
        await socket.send_str("X-RequestId:1\r\nPath:turn.start\r\n\r\n{}")
        if way == "silent":
            await socket.receive()  # until the client goes away
        if way == "garbage":
            await socket.send_str("no headers here")
        if way == "short message":
            await socket.send_bytes(b"\0")
        if way == "bad metadata":
            await socket.send_str("Path:audio.metadata\r\n\r\n{[")
        if way == "no mp3":
            await socket.send_bytes(len(audio).to_bytes(2, "big") + audio + b"nothing" * 9)
        if way in ("well", "wrong clock", "cut", "reset"):
            half = len(self.mp3) // 2
            for part in (self.mp3[:half], self.mp3[half:]):
                await socket.send_bytes(len(audio).to_bytes(2, "big") + audio + part)
                if way == "cut":
                    await socket.close()
                    return
                if way == "reset":
                    assert request.transport is not None
                    request.transport.abort()
                    return
        await socket.send_str("X-RequestId:1\r\nPath:turn.end\r\n\r\n{}")
        await socket.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = Path(tmp_path_factory.mktemp("tone"), "tone.mp3")
    silence = np.zeros(12_000, np.float32)
    tone = 0.3 * np.sin(0.3 * np.arange(round(TONE_SECONDS * 24_000)))
    encode(path, np.concatenate([silence, tone.astype(np.float32), silence])[None], 24_000, bitrate_kbps=48)
    service = Service(path.read_bytes())
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/voices", service.list)
    app.router.add_get("/speak", service.speak)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        service.address = f"127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield service
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def service(running: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
    monkeypatch.setattr(communicate, "WSS_URL", f"ws://{running.address}/speak?token=1")
    monkeypatch.setattr(voices, "VOICE_LIST", f"http://{running.address}/voices?token=1")
    monkeypatch.setattr(DRM, "clock_skew_seconds", 0.0)
    edge._speakers.cache_clear()
    running.ways, running.asked = [], []
    return running


def is_the_tone(speech: np.ndarray, rate: int) -> bool:
    return (
        rate == 24_000 and abs(len(speech) / rate - TONE_SECONDS) < 0.15 and float(np.abs(speech).max()) > 0.2
    )


def test_a_text_is_read_at_the_pace_asked_for_without_silent_ends(service: Service) -> None:
    assert is_the_tone(*Engine(SHORT).synthesize("Fish & <chips>", "de-DE-KatjaNeural", 1.2, 0))
    (asked,) = service.asked
    assert "rate='+20%'" in asked
    assert "(de-DE, KatjaNeural)" in asked
    assert "Fish &amp; &lt;chips&gt;" in asked
    assert [percent(rate) for rate in (1.0, 0.5, 2.0, 0.95)] == ["+0%", "-50%", "+100%", "-5%"]


def test_passages_are_read_as_the_usual_speaker_and_the_list_is_asked_for_once(service: Service) -> None:
    engine = Engine(SHORT)
    assert [each.name for each in engine.speakers()] == ["en-US-EmmaMultilingualNeural", "de-DE-KatjaNeural"]
    speech, rate = read_by(engine, "One here. Two here.")
    assert len(speech) / rate == pytest.approx(2 * TONE_SECONDS + 0.3, abs=0.3)
    assert service.asked.count("list") == 1
    assert sum("EmmaMultilingualNeural" in asked for asked in service.asked) == 2
    with pytest.raises(SpeechError, match="speaker 'nobody' is unknown; choose from en-US-Emma"):
        read_by(engine, "One.", "nobody")


def test_it_reads_inside_a_running_loop_too(service: Service) -> None:
    async def page() -> tuple[np.ndarray, int]:
        return Engine(SHORT).synthesize("Hello.", None, 1.0, 0)

    assert is_the_tone(*asyncio.run(page()))


FAILURES = {
    "no audio": "sent no audio",
    "cut": "cut in the middle",
    "reset": "",
    "forbidden": "HTTP 403",
    "503": "HTTP 503",
    "garbage": "",
    "short message": "missing the header length",
    "bad metadata": "",
    "no mp3": "",
}


@pytest.mark.parametrize("way", FAILURES)
def test_what_fails_twice_is_read_the_third_time(service: Service, way: str) -> None:
    service.ways = [way, way] if way != "forbidden" else [way]
    assert is_the_tone(*Engine(SHORT).synthesize("Hello.", None, 1.0, 0))
    assert service.ways == []


@pytest.mark.parametrize("way", FAILURES)
def test_what_fails_each_time_is_told_in_one_sentence_that_names_the_engine_without_network(
    service: Service, way: str
) -> None:
    service.ways = [way] * 6
    with pytest.raises(SpeechError, match=r"'edge' failed 3 times.*'hibari' reads English without") as told:
        Engine(SHORT).synthesize("Hello.", None, 1.0, 0)
    assert FAILURES[way] in str(told.value)
    assert "\n" not in str(told.value)


def test_a_wrong_clock_of_this_machine_is_made_up_for(service: Service) -> None:
    service.ways = ["wrong clock"]
    assert is_the_tone(*Engine(Patience(20.0, ())).synthesize("Hello.", None, 1.0, 0))


def test_a_service_that_says_nothing_is_not_waited_for_longer_than_allowed(service: Service) -> None:
    service.ways = ["silent"] * 2
    with pytest.raises(SpeechError, match=r"no answer within 0.2 s"):
        Engine(Patience(0.2, (0.0,))).synthesize("Hello.", None, 1.0, 0)


def test_a_host_without_address_or_server_is_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(self: object, host: str, *_: object, **__: object) -> list[object]:
        raise OSError(f"{host} has no address")

    monkeypatch.setattr(communicate, "WSS_URL", "ws://127.0.0.1:9/speak?token=1")  # nobody listens at discard
    with pytest.raises(SpeechError, match=r"127.0.0.1 cannot be reached.*'hibari'"):
        Engine(SHORT).synthesize("Hello.", None, 1.0, 0)
    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", unknown)
    monkeypatch.setattr(voices, "VOICE_LIST", "http://voices.invalid/list?token=1")
    with pytest.raises(SpeechError, match=r"voices.invalid cannot be reached.*'hibari'"):
        Engine(SHORT).speakers()


@pytest.mark.parametrize("way", ["503", "page", "empty", "other form"])
def test_a_list_that_fails_is_asked_for_again_and_then_told(service: Service, way: str) -> None:
    service.ways = [way] * 3
    with pytest.raises(SpeechError, match=r"'edge' failed 3 times.*'hibari'"):
        Engine(SHORT).speakers()
    service.ways = [way]
    assert len(Engine(SHORT).speakers()) == 2


def test_what_is_no_name_of_a_voice_is_not_asked_for(service: Service) -> None:
    with pytest.raises(SpeechError, match=r"speaker 'bob' is no voice of edge"):
        Engine(SHORT).synthesize("Hello.", "bob", 1.0, 0)
    assert service.asked == []


def test_nothing_goes_over_the_network_where_that_is_forbidden(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    for ask in (lambda: Engine(SHORT).speakers(), lambda: Engine(SHORT).synthesize("Hello.", None, 1.0, 0)):
        with pytest.raises(SpeechError, match=r"URVC_OFFLINE forbids that.*'hibari'"):
            ask()
    assert service.asked == []


def test_only_the_user_chooses_an_engine_that_sends_the_text_away(monkeypatch: pytest.MonkeyPatch) -> None:
    info = engines.ENGINES[SpeechEngineName.EDGE]
    monkeypatch.setattr(
        engines,
        "ENGINES",
        {SpeechEngineName.EDGE: info, SpeechEngineName.HIBARI: engines.ENGINES[SpeechEngineName.HIBARI]},
    )
    assert type(open_engine(SpeechEngineName.AUTO)).__module__ == "ultimate_rvc.speech.hibari"
    assert isinstance(open_engine(SpeechEngineName.EDGE), Engine)

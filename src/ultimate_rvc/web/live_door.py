"""The socket of the tab Live: sound from a browser's microphone in, the converted voice out.

A browser sends one text, what it asks for (``live_wish.py``), then sound: little-endian float32, mono, at its own
rate, in messages of any length. The server answers with texts (``ready``, ``figures``, ``refused``, ``error``,
``recorded``) and with blocks of sound of the same kind. A text with ``change`` changes settings of the conversion,
one with ``stop`` ends it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.outputs import Outputs, Placed, file_title
from ultimate_rvc.paths import output_dir
from ultimate_rvc.rvc.infer.live_recording import RECORDING_SUFFIX, LiveRecording
from ultimate_rvc.rvc.infer.live_session import LiveSession
from ultimate_rvc.rvc.infer.live_settings import live_settings
from ultimate_rvc.server.proxy import path_below
from ultimate_rvc.voices.finding import find_voice
from ultimate_rvc.voices.live import open_live
from ultimate_rvc.web.live_wish import SAMPLE, Wish, changed, parsed, samples
from ultimate_rvc.web.login import may_enter
from ultimate_rvc.web.players import address
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, languages, load_texts
from ultimate_rvc.work.settings_parts import conversion_for

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocket

    from ultimate_rvc.rvc.infer.live import LiveConverter

log = logging.getLogger(__name__)

PATH = "/live/socket"
PATIENCE_SECONDS = 60.0  # without a word or a sound, after which a browser is taken for gone
NO_LOGIN = 4401  # a code of our own: the page's user has to log in


class LiveDoor:
    """Answers at :data:`PATH`, one browser at a time, and lets everything else through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_busy = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or path_below(scope) != PATH:
            await self._app(scope, receive, send)
            return
        from starlette.websockets import WebSocket, WebSocketDisconnect

        socket = WebSocket(scope, receive, send)
        await socket.accept()
        if not may_enter(socket):
            await socket.close(NO_LOGIN)
            return
        try:
            await self._welcome(socket)
        except WebSocketDisconnect:
            return
        except TimeoutError:
            await socket.close()

    async def _welcome(self, socket: WebSocket) -> None:
        from starlette.websockets import WebSocketDisconnect

        texts = load_texts(DEFAULT_LANGUAGE)
        try:
            first = await asyncio.wait_for(socket.receive(), PATIENCE_SECONDS)
            if first["type"] == "websocket.disconnect":
                return
            given = parsed(first.get("text") or "")
            if given.get("language") in languages():
                texts = load_texts(given["language"])
            if self._is_busy:
                raise SettingError(texts("live.busy"))
            self._is_busy = True
            try:
                await _Visit(socket, Wish.read(given, texts)).serve()
            finally:
                self._is_busy = False
        except UltimateRVCError as error:
            await _refuse(socket, texts.sentence(str(error)))
        except (WebSocketDisconnect, TimeoutError):
            raise
        except Exception as error:
            log.exception("A bug of the live conversion")
            await _refuse(socket, texts("error.bug", name=type(error).__name__))


class _Visit:
    """One browser, from its wish to its end."""

    def __init__(self, socket: WebSocket, wish: Wish) -> None:
        self._socket, self._wish = socket, wish
        self._blocks: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def serve(self) -> None:
        """Convert until the browser stops or is gone."""
        converter = await asyncio.to_thread(self._open)
        recording = self._recording() if self._wish.record else None
        session = LiveSession(converter, self._hand_over, None if recording is None else recording.write)
        answers = asyncio.create_task(self._answer(converter, session))
        await _say(self._socket, ready={"delay_ms": round(1000 * converter.latency_seconds)})
        is_there = False
        try:
            is_there = await self._listen(converter, session, answers)
        finally:
            answers.add_done_callback(_seen)
            answers.cancel()
            # What was said until then is kept, whatever ended it: even when the server is being stopped.
            placed = await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(_end, session, recording)))
        if not is_there:
            return
        if placed is not None:
            path, root_path = placed.path, self._socket.scope.get("root_path", "")
            await _say(self._socket, recorded={"name": path.name, "url": f"{root_path}/{address(path)}"})
        await self._socket.close()

    def _open(self) -> LiveConverter:
        wish = self._wish
        asked = wish.settings.get("conversion") or {}
        settings = live_settings(wish.settings, conversion_for(wish.voice, asked))
        return open_live(find_voice(wish.voice), settings, input_rate=wish.rate, output_rate=wish.rate)

    def _recording(self) -> LiveRecording:
        title = f"live - {file_title(self._wish.voice)}"
        folder = Outputs(()).folder(None, output_dir())
        target = Outputs((), overwrite=False).made(folder, title, "", RECORDING_SUFFIX)
        return LiveRecording(target, self._wish.rate)

    def _hand_over(self, block: Any) -> None:
        """Called in the thread that converts."""
        self._loop.call_soon_threadsafe(self._blocks.put_nowait, block)

    async def _answer(self, converter: LiveConverter, session: LiveSession) -> None:
        while True:
            block = await self._blocks.get()
            await self._socket.send_bytes(block.astype(SAMPLE).tobytes())
            figures = session.figures()
            delay = converter.latency_seconds + figures.load * converter.block_seconds
            await _say(
                self._socket,
                figures={
                    "delay_ms": round(1000 * delay), "load": round(figures.load, 3), "skipped": figures.skipped,
                },
            )  # fmt: skip

    async def _listen(
        self, converter: LiveConverter, session: LiveSession, answers: asyncio.Task[None]
    ) -> bool:
        """Take sound and changes until the browser stops; False where it is gone instead."""
        while not answers.done():
            message = await asyncio.wait_for(self._socket.receive(), PATIENCE_SECONDS)
            session.check()
            if message["type"] == "websocket.disconnect":
                return False
            if (sound := message.get("bytes")) is not None:
                session.put(samples(sound))
                continue
            given = parsed(message.get("text") or "")
            if given.get("stop") is True:
                return True
            try:
                await asyncio.to_thread(converter.change, changed(converter.conversion, given.get("change")))
            except SettingError as error:  # the voice goes on as it was
                await _say(self._socket, refused=self._wish.texts.sentence(str(error)))
        return False


def _end(session: LiveSession, recording: LiveRecording | None) -> Placed | None:
    session.close()
    return None if recording is None else recording.finish()


def _seen(answers: asyncio.Task[None]) -> None:
    """Nobody is left to be told why nothing more could be answered."""
    if not answers.cancelled():
        answers.exception()


async def _say(socket: WebSocket, **what: Any) -> None:
    await socket.send_text(json.dumps(what, ensure_ascii=False))


async def _refuse(socket: WebSocket, sentence: str) -> None:
    await _say(socket, error=sentence)
    await socket.close()

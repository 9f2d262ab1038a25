"""The engine edge: the voices that read pages aloud in Microsoft's browser, over the network (edge-tts, LGPL-3).

The text goes to Microsoft. Nobody promises this service, and it fails now and then: each passage is asked for again
after short waits, and what still fails is told in one sentence that names the engine that needs no network.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.assets.registry import OFFLINE_VARIABLE, is_offline
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.errors import AudioError, SpeechError, first_line
from ultimate_rvc.speech.engines import Speaker
from ultimate_rvc.speech.silence import without_silent_ends

FloatArray = NDArray[np.float32]
Answer = TypeVar("Answer")

SAMPLE_RATE = 24_000  # Hz: edge-tts always asks for audio-24khz-48kbitrate-mono-mp3
WAY_OUT = "the engine 'hibari' reads English without a network"


@dataclass(frozen=True)
class Patience:
    """How long an answer may take, and how long to wait before each time that the service is asked again."""

    seconds: float = 60.0
    waits: tuple[float, ...] = (0.5, 2.0)


class Engine:
    """A speaker is a voice's short name, such as ``en-US-EmmaMultilingualNeural``.

    The service decides how it reads: the same text may come out a little different on another day, with any seed.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()

    def speakers(self) -> tuple[Speaker, ...]:
        return _speakers(self._patience)

    def identity(self, speaker: str) -> dict[str, object]:
        """As :meth:`Recallable.identity`: what was read once stays as it was read."""
        return {"engine": "edge", "speaker": speaker}

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        from edge_tts import Communicate
        from edge_tts.constants import DEFAULT_VOICE

        def communicate() -> Communicate:
            return Communicate(text, speaker or DEFAULT_VOICE, rate=percent(rate))

        async def read() -> FloatArray:
            return _decoded(await _mp3(communicate()))

        try:
            communicate()
        except ValueError as error:
            raise SpeechError(
                f"speaker '{speaker}' is no voice of edge: its voices have names such as {DEFAULT_VOICE}.",
                "speaker",
            ) from error
        return without_silent_ends(_asked(read, self._patience), SAMPLE_RATE), SAMPLE_RATE


def percent(rate: float) -> str:
    """A rate as the service takes it: 1.2 is ``+20%``."""
    return f"{round((rate - 1) * 100):+d}%"


@lru_cache(maxsize=1)
def _speakers(patience: Patience) -> tuple[Speaker, ...]:
    from edge_tts import list_voices
    from edge_tts.constants import DEFAULT_VOICE

    async def listed() -> tuple[Speaker, ...]:
        found = [
            Speaker(voice["ShortName"], voice["Locale"], voice["Gender"].lower())
            for voice in await list_voices()
        ]
        if not found:
            raise ValueError("its list of voices is empty")
        return tuple(sorted(found, key=lambda each: (each.name != DEFAULT_VOICE, each.name)))

    return _asked(listed, patience)


async def _mp3(communicate: Any) -> bytes:
    """All the audio of one ``edge_tts.Communicate``.

    Raises
    ------
    ConnectionError
        It ended early. edge-tts takes a connection that closes in the middle for the end. It counts the bytes of
        what came to its end only, by which the two are told apart.
    """
    audio = b"".join([part["data"] async for part in communicate.stream() if part["type"] == "audio"])
    if communicate.state["cumulative_audio_bytes"] != len(audio):
        raise ConnectionError("the connection was cut in the middle")
    return audio


def _decoded(mp3: bytes) -> FloatArray:
    with tempfile.TemporaryDirectory(prefix="urvc-") as folder:
        path = Path(folder, "speech.mp3")
        path.write_bytes(mp3)
        return decode_mono(path, SAMPLE_RATE)


def _asked(ask: Callable[[], Coroutine[Any, Any, Answer]], patience: Patience) -> Answer:
    """What the service answers.

    Raises
    ------
    SpeechError
        It failed each time, or the network is forbidden.
    """
    if is_offline():
        raise SpeechError(
            f"The engine 'edge' reads over the network, and {OFFLINE_VARIABLE} forbids that: unset it, or know that "
            f"{WAY_OUT}."
        )
    return _run_apart(_tried(ask, patience))


async def _tried(ask: Callable[[], Coroutine[Any, Any, Answer]], patience: Patience) -> Answer:
    import aiohttp
    from edge_tts.exceptions import EdgeTTSException

    # The last three: edge-tts reads answers that have another form than it knows.
    failures = (
        EdgeTTSException,
        aiohttp.ClientError,
        AudioError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
    )
    for wait in (*patience.waits, None):
        try:
            async with asyncio.timeout(patience.seconds):
                return await ask()
        except failures as error:
            if wait is None:
                times = len(patience.waits) + 1
                raise SpeechError(
                    f"The engine 'edge' failed {times} times ({_reason(error, patience)}): try again later, or know "
                    f"that {WAY_OUT}."
                ) from error
            await asyncio.sleep(wait)
    raise AssertionError("the last time either answers or raises")


def _reason(error: Exception, patience: Patience) -> str:
    import aiohttp
    from edge_tts.exceptions import NoAudioReceived, SkewAdjustmentError

    if isinstance(error, TimeoutError):
        return f"no answer within {patience.seconds:g} s"
    if isinstance(error, SkewAdjustmentError) or getattr(error, "status", None) == 403:
        return "the service refuses, HTTP 403: a newer edge-tts or the right time on this machine's clock may help"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the service answers HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host} cannot be reached"
    if isinstance(error, NoAudioReceived):
        return "the service sent no audio: the speaker may not read this language"
    return first_line(error).rstrip(".")


def _run_apart(work: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of ``work``, run in a thread with a loop of its own: the caller's thread may run one already.

    An interruption of the caller ends the work too.
    """
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Answer]]] = Future()

    async def whole() -> Answer:
        task = asyncio.ensure_future(work)
        running.set_result((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1, "edge") as pool:
        answer = pool.submit(asyncio.run, whole())
        try:
            return answer.result()
        except BaseException:
            loop, task = running.result()
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(task.cancel)
            raise

"""``POST /v1/audio/speech`` as OpenAI has it, for the many programs that speak to it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request, Response

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.server.answers import PCM, AnswerFormat, format_named
from ultimate_rvc.server.api import Api, HeldResponse
from ultimate_rvc.server.described import answers, field, takes
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.server.routes_work import speech_answer, speech_settings

LONGEST_INPUT = 4096
FORMATS = ("mp3", "opus", "aac", "flac", "wav", PCM)
PCM_RATE = 24_000  # of OpenAI's pcm
PLAIN_VOICE = "none"  # as the engine's speaker reads it
STREAMS = ("audio", "sse")
FIELDS = {
    "model": field("string", "A speech engine, such as hibari; any other name chooses one by itself."),
    "input": field("string", "What is read aloud.", maxLength=LONGEST_INPUT),
    "voice": field("string", f"A voice of the library; {PLAIN_VOICE}: as the engine's speaker reads it."),
    "response_format": field("string", "mp3 if left out.", enum=list(FORMATS)),
    "speed": field("number", "0.5 to 2."),
    "stream_format": field("string", "sse: as events with base64.", enum=list(STREAMS)),
    "instructions": field("string", "Taken and not used: the voice decides how it sounds."),
}


def add_openai(router: APIRouter, api: Api) -> None:
    """Add the route."""

    @router.post(
        "/v1/audio/speech",
        tags=["compatible"],
        openapi_extra=takes(FIELDS, required=["input", "voice"]),
        responses=answers(sound=True),
    )
    async def create_speech(request: Request) -> Response:
        """A text read aloud in a voice, sent while it is made."""
        stack = AsyncExitStack()
        async with stack:
            given = await api.read(request, stack)
            text, stream = given.text("input") or "", given.text("stream_format", "audio")
            if len(text) > LONGEST_INPUT:
                raise ApiError(400, f"input has {len(text)} letters; {LONGEST_INPUT} are the most.", "input")
            if stream not in STREAMS:
                raise ApiError(
                    400, f"stream_format is {stream!r}, but must be audio or sse.", "stream_format"
                )
            wanted = _format(given.text("response_format", "mp3") or "mp3")
            model = given.text("model") or ""
            given.fields |= {
                "engine": model if model in list(SpeechEngineName) else SpeechEngineName.AUTO.value,
                "rate": given.number("speed", 1.0),
            }
            voice = _voice(given.fields.get("voice"))
            settings = speech_settings(api, given, text, None if voice == PLAIN_VOICE else voice)
            if stream == "audio":
                return await speech_answer(api, request, stack, given, settings, wanted, streams=True)
            chunks = await api.spoken(stack, api.speech(request, given, settings), wanted)
            return HeldResponse(_events(chunks, len(text)), stack.pop_all(), media_type="text/event-stream")


def _format(name: str) -> AnswerFormat:
    if name not in FORMATS:
        raise ApiError(
            400, f"response_format is {name!r}, but must be one of {', '.join(FORMATS)}.", "response_format"
        )
    return AnswerFormat(None, PCM_RATE) if name == PCM else format_named(name)


def _voice(given: object) -> str:
    """The voice's name; newer clients send an object with its id."""
    name = given.get("id") if isinstance(given, dict) else given
    if not isinstance(name, str) or not name:
        raise ApiError(400, "voice is missing; name one of GET /v1/voices, or none.", "voice")
    return name


async def _events(chunks: AsyncIterator[bytes], letters: int) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk).decode()})
    usage = {"input_tokens": letters, "output_tokens": 0, "total_tokens": letters}
    yield _event({"type": "speech.audio.done", "usage": usage})


def _event(content: object) -> str:
    return f"data: {json.dumps(content)}\n\n"

"""``/v1/convert``, ``/v1/speech``, ``/v1/covers`` and ``/v1/separate``: our own shapes of the work."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.server.answers import AnswerFormat, format_named
from ultimate_rvc.server.api import Api, HeldResponse
from ultimate_rvc.server.described import FORMATS, answers, field, schema_ref, takes
from ultimate_rvc.server.intake import Given
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.work.foreign import named_voice, refuse_foreign
from ultimate_rvc.work.kinds import schema_of
from ultimate_rvc.work.requests import DEMO_SOURCE

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_TEXT = 4096  # letters that are waited for
SPEECH_FIELDS = ("engine", "speaker", "language", "rate", "text_format")
NO_JOB = "prefer"  # header that asks for a job, after RFC 7240
VOICE = field("string", "A voice of the library.")
FORMAT = field("string", "How the sound is sent; pcm: 16-bit samples without a header.", enum=FORMATS)
BITRATE = field("integer", "Bitrate of a lossy format in kbit/s.")


def add_work(router: APIRouter, api: Api) -> None:
    """Add the routes."""
    sound = {"voice": VOICE, "format": FORMAT, "bitrate_kbps": BITRATE}
    shared = sound | {"settings": schema_ref("Conversion"), "optimization": schema_ref("Optimization")}

    @router.post(
        "/v1/convert",
        tags=["work"],
        openapi_extra=takes(shared, audio="audio", required=["voice"], raw=True),
        responses=answers(sound=True, job=True),
    )
    async def convert(request: Request) -> Response:
        """A file in a voice: the sound, or a job for what is long or was asked for with Prefer: respond-async."""
        async with AsyncExitStack() as stack:
            given = await api.read(request, stack)
            voice, wanted = named_voice(given.text("voice")), wanted_format(given, "wav")
            settings = api.conversion(voice, given.mapping("settings"))
            if not _wants_job(request) and await api.is_short(given.audio):
                return await api.converted(
                    request, given, voice, settings, wanted, checked(given.mapping("optimization"))
                )
            return api.submit(request, "convert", {
                "sources": [str(api.kept(given.audio))],
                "voice": voice.name,
                "conversion": settings,
                **written(wanted),
                "optimization": checked(given.mapping("optimization")),
            })  # fmt: skip

    speech = schema_of("speech")["properties"]
    spoken = {name: speech[name] for name in ("text", *SPEECH_FIELDS)}

    @router.post(
        "/v1/speech",
        tags=["work"],
        openapi_extra=takes(
            shared | spoken | {"stream": field("boolean", "Send it while it is made.")}, required=["text"]
        ),
        responses=answers(sound=True, job=True),
    )
    async def speak(request: Request) -> Response:
        """A text read aloud, in a voice: the sound, while it is made if asked for, or a job for what is long."""
        stack = AsyncExitStack()
        async with stack:
            given = await api.read(request, stack)
            text, wanted = given.text("text") or "", wanted_format(given, "wav")
            settings = speech_settings(api, given, text, given.text("voice"))
            if _wants_job(request) or len(text) > LONGEST_TEXT:
                return api.submit(request, "speech", settings | written(wanted))
            streams = given.flag("stream")
            return await speech_answer(api, request, stack, given, settings, wanted, streams=streams)

    song = {"link": field("string", "Link to a song, or demo, instead of a file."), "voice": VOICE}

    @router.post(
        "/v1/covers",
        tags=["work"],
        status_code=202,
        openapi_extra=takes(
            song | {"settings": schema_ref("Cover"), "optimization": schema_ref("Optimization")},
            audio="audio",
            required=["voice"],
        ),
        responses=answers(job=True),
    )
    async def make_cover(request: Request) -> Response:
        """A song cover, as a job."""
        async with AsyncExitStack() as stack:
            given = await api.read_for_job(request, stack)
            voice, settings = named_voice(given.text("voice")), checked(given.mapping("settings"))
            settings["conversion"] = api.conversion(voice, _inner(settings, "conversion"))
            return api.submit(request, "cover", {
                "source": _song(api, given),
                "voice": voice.name,
                "cover": settings,
                "optimization": checked(given.mapping("optimization")),
            })  # fmt: skip

    parts = schema_of("separate")["properties"]
    separation = {name: parts[name] for name in ("task", "model")} | {
        "format": FORMAT,
        "bitrate_kbps": BITRATE,
    }

    @router.post(
        "/v1/separate",
        tags=["work"],
        status_code=202,
        openapi_extra=takes(separation, audio="audio"),
        responses=answers(job=True),
    )
    async def separate(request: Request) -> Response:
        """A file into its parts, as a job."""
        async with AsyncExitStack() as stack:
            given = await api.read_for_job(request, stack)
            settings = checked(
                {name: given.fields[name] for name in ("task", "model") if given.fields.get(name)}
            )
            settings |= {"source": str(api.kept(given.audio)), **written(wanted_format(given, "wav"))}
            return api.submit(request, "separate", settings)


async def speech_answer(
    api: Api,
    request: Request,
    stack: AsyncExitStack,
    given: Given,
    settings: Mapping[str, Any],
    wanted: AnswerFormat,
    *,
    streams: bool,
) -> Response:
    """A speech as the body of an answer; the stack is closed with it."""
    work = api.speech(request, given, settings)
    if not streams:
        return Response(await api.said(request, work, wanted), media_type=wanted.media_type)
    chunks = await api.spoken(stack, work, wanted)
    return HeldResponse(chunks, stack.pop_all(), media_type=wanted.media_type)


def speech_settings(api: Api, given: Given, text: str, voice: str | None) -> dict[str, Any]:
    """Settings of a speech from the fields of a request; ``voice`` None: as the engine's speaker reads it."""
    settings: dict[str, Any] = {name: given.fields[name] for name in SPEECH_FIELDS if given.fields.get(name)}
    refuse_foreign(settings)
    found = None if voice is None else named_voice(voice)
    return settings | {
        "text": text,
        "voice": found and found.name,
        "conversion": {} if found is None else api.conversion(found, given.mapping("settings")),
        "optimization": checked(given.mapping("optimization")),
    }


def wanted_format(given: Given, usual: str) -> AnswerFormat:
    kbps = int(given.number("bitrate_kbps", 0)) or None
    return format_named(given.text("format", usual) or usual, bitrate_kbps=kbps)


def written(wanted: AnswerFormat) -> dict[str, Any]:
    """The format of a job's files."""
    if wanted.audio_format is None:
        raise ApiError(400, "format pcm is for sound that is sent at once; choose wav for a job.", "format")
    return {"output_format": AudioFormat(wanted.audio_format), "bitrate_kbps": wanted.bitrate_kbps}


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that name nothing of this machine."""
    refuse_foreign(settings)
    return settings


def _wants_job(request: Request) -> bool:
    return "respond-async" in request.headers.get(NO_JOB, "")


def _song(api: Api, given: Given) -> str:
    link = (given.text("link") or "").strip()
    if link and given.files:
        raise ApiError(400, "Send a file or a link, not both.", "link")
    if not link:
        path: Path = api.kept(given.audio)
        return str(path)
    if link != DEMO_SOURCE and not is_link(link):
        raise ApiError(400, f"link is {link!r}, but must begin with http:// or https://, or be demo.", "link")
    return link


def _inner(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = settings.get(name) or {}
    if not isinstance(inner, Mapping):
        raise ApiError(400, f"{name} must be an object with names and values.", name)
    return inner

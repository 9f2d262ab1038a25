"""``POST /v1/speech-to-speech/{voice_id}`` as ElevenLabs has it, which its newer package calls ``voice-changer``."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack

from fastapi import APIRouter, Query, Request, Response

from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.server.answers import RATES, AnswerFormat
from ultimate_rvc.server.api import Api
from ultimate_rvc.server.described import answers, field, takes
from ultimate_rvc.server.problems import ApiError
from ultimate_rvc.work.foreign import named_voice

USUAL_FORMAT = "mp3_44100_128"
_FORMAT = re.compile(r"(mp3|opus|pcm|wav)_(\d{4,6})(?:_(\d{2,3}))?")
LARGEST_SEED = 2**32 - 1
FIELDS = {
    "model_id": field("string", "Taken and not used: the voice is the model."),
    "seed": field("integer", "The same seed gives the same sound."),
    "voice_settings": field("object", "Taken and not used, but for rvc: settings of a conversion."),
    "remove_background_noise": field("boolean", "Not done here; clean the audio before."),
}


def add_elevenlabs(router: APIRouter, api: Api) -> None:
    """Add the routes."""

    async def convert(request: Request, voice_id: str, output_format: str) -> Response:
        async with AsyncExitStack() as stack:
            given = await api.read(request, stack)
            voice, wanted = named_voice(voice_id), format_of(output_format)
            if given.flag("remove_background_noise"):
                raise ApiError(
                    400, "remove_background_noise is not done here; leave it out.", "remove_background_noise"
                )
            own = given.mapping("voice_settings").get("rvc") or {}
            if not isinstance(own, dict):
                raise ApiError(
                    400, "voice_settings.rvc must be an object with names and values.", "voice_settings"
                )
            if given.fields.get("seed") not in (None, ""):
                own = own | {"seed": int(given.number("seed", 0)) & LARGEST_SEED}
            if not await api.is_short(given.audio):
                raise ApiError(
                    413,
                    f"The audio is longer than {api.options.answer_seconds:g} s; POST /v1/convert makes a job.",
                    "audio",
                )
            return await api.converted(request, given, voice, api.conversion(voice, own), wanted)

    described = {
        "tags": ["compatible"],
        "openapi_extra": takes(FIELDS, audio="audio"),
        "responses": answers(sound=True),
    }

    @router.post("/v1/voice-changer/{voice_id}", **described)  # type: ignore[arg-type]
    @router.post("/v1/speech-to-speech/{voice_id}", **described)  # type: ignore[arg-type]
    async def speech_to_speech(
        request: Request, voice_id: str, output_format: str = Query(USUAL_FORMAT)
    ) -> Response:
        """Speech or singing in a voice."""
        return await convert(request, voice_id, output_format)

    @router.post("/v1/voice-changer/{voice_id}/stream", **described)  # type: ignore[arg-type]
    @router.post("/v1/speech-to-speech/{voice_id}/stream", **described)  # type: ignore[arg-type]
    async def speech_to_speech_stream(
        request: Request, voice_id: str, output_format: str = Query(USUAL_FORMAT)
    ) -> Response:
        """As without ``/stream``: a conversion is over before the first of its sound could have been heard."""
        return await convert(request, voice_id, output_format)


def format_of(name: str) -> AnswerFormat:
    """Such as ``mp3_44100_128``: the format, the rate in Hz, and the bitrate in kbit/s.

    Raises
    ------
    ApiError
        It is none that can be sent.
    """
    found = _FORMAT.fullmatch(name)
    if found is None or not RATES[0] <= int(found[2]) <= RATES[1]:
        raise ApiError(
            400,
            f"output_format is {name!r}, but must be like {USUAL_FORMAT}, opus_48000_64, pcm_16000 or wav_44100.",
            "output_format",
        )
    kbps = int(found[3]) if found[3] else None
    if found[1] == "pcm":
        return AnswerFormat(None, int(found[2]))
    return AnswerFormat(AudioFormat(found[1]), int(found[2]), kbps)

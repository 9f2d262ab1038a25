"""What the OpenAPI document says of requests whose bodies the API reads itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.server.answers import MEDIA_TYPES, PCM
from ultimate_rvc.work.kinds import OPTIMIZATION, schema_of

AUDIO_FILE = {"type": "string", "format": "binary", "description": "A file with audio."}
AUDIO_TEXT = {"type": "string", "contentEncoding": "base64", "description": "A file with audio, in base64."}
FORMATS = [*map(str, AudioFormat), PCM]
PROBLEM = {
    "description": "Why not, in one sentence.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "type": "object",
                        "properties": {
                            name: {"type": ["string", "null"]}
                            for name in ("message", "type", "param", "code")
                        },
                    },
                    "detail": {"type": "object", "properties": {"status": {}, "message": {"type": "string"}}},
                },
            }
        }
    },
}
SOUND = {
    "description": "The sound.",
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}}
        for kind in dict.fromkeys(MEDIA_TYPES.values())
    },
}
JOB = {
    "description": "A job, to be looked at under its Location.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
PROBLEM_STATUSES = (400, 401, 404, 413, 422, 429, 500, 503)


def components() -> dict[str, Any]:
    """What the routes refer to."""
    return {
        "schemas": {
            "Conversion": schema_of("convert")["properties"]["conversion"],
            "Optimization": schema_of("convert")["properties"][OPTIMIZATION],
            "Cover": schema_of("cover")["properties"]["cover"],
        },
        "responses": {"Problem": PROBLEM, "Sound": SOUND, "Job": JOB},
    }


def schema_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def field(kind: str, description: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "description": description} | more


def takes(
    fields: Mapping[str, Any], *, audio: str | None = None, required: Sequence[str] = (), raw: bool = False
) -> dict[str, Any]:
    """For ``openapi_extra``: a form, JSON and, with ``raw``, plain bytes with the fields in the address."""
    content: dict[str, Any] = {
        "application/json": {
            "schema": _object({**({audio: AUDIO_TEXT} if audio else {}), **fields}, required)
        }
    }
    if audio:
        content["multipart/form-data"] = {"schema": _object({audio: AUDIO_FILE, **fields}, required)}
    if raw:
        content["audio/*"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"content": content, "required": True}}


def answers(*, sound: bool = False, job: bool = False) -> dict[int | str, dict[str, Any]]:
    """For ``responses``."""
    known: dict[int | str, dict[str, Any]] = {status: _response("Problem") for status in PROBLEM_STATUSES}
    if sound:
        known[200] = _response("Sound")
    if job:
        known[202] = _response("Job")
    return known


def _response(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/{name}"}


def _object(fields: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(required)}

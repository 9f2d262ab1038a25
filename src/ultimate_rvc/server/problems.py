"""What goes wrong, as an answer: a status and one sentence, in the shapes that clients look into."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ultimate_rvc.errors import (
    AssetMissingError,
    ClusterError,
    SettingError,
    UltimateRVCError,
    VoiceNotFoundError,
)
from ultimate_rvc.jobs.errors import JobError
from ultimate_rvc.jobs.sentences import sentence_of
from ultimate_rvc.paths import audio_dir

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

WORK_FOLDER, UPLOADS_FOLDER = "requests", "uploads"  # below the audio folder

LONGEST_WAIT_SECONDS = 30.0  # to be told no again costs little, and places become free one by one

CODES = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    409: "conflict", 413: "too_large", 422: "cannot_be_done", 429: "busy", 500: "bug", 503: "not_ready",
}  # fmt: skip


class ApiError(UltimateRVCError):
    """A request that is not answered as asked; ``field`` names what is wrong in it."""

    def __init__(
        self, status: int, sentence: str, field: str | None = None, *, wait_seconds: float | None = None
    ) -> None:
        super().__init__(sentence, *([field] if field else []))
        self.status, self.field = status, field
        self.wait_seconds = wait_seconds
        """When to ask again."""

    @property
    def headers(self) -> dict[str, str]:
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        if self.wait_seconds is not None:
            return {"Retry-After": str(max(math.ceil(self.wait_seconds), 1))}
        return {}


def busy(sentence: str, wait_seconds: float) -> ApiError:
    return ApiError(429, sentence, wait_seconds=min(wait_seconds, LONGEST_WAIT_SECONDS))


def as_problem(error: Exception) -> ApiError:
    """Any error of ours as an answer; a bug is one too, without its traceback."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UltimateRVCError):
        return ApiError(_status(error), str(error), next(iter(error.fields), None))
    return ApiError(500, sentence_of(error))


def _status(error: UltimateRVCError) -> int:
    kinds: Mapping[type[UltimateRVCError], int] = {
        VoiceNotFoundError: 404, JobError: 404, SettingError: 400,
        AssetMissingError: 503, ClusterError: 503,
    }  # fmt: skip
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 422)


def body_of(problem: ApiError) -> dict[str, Any]:
    """As clients of OpenAI (``error``) and of ElevenLabs (``detail``) look for it."""
    code, sentence = CODES.get(problem.status, "error"), without_folders(str(problem))
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    return {
        "error": {"message": sentence, "type": kind, "param": problem.field, "code": code},
        "detail": {"status": code, "message": sentence},
    }


def without_folders(sentence: str) -> str:
    """A sentence without the folders that the server keeps files of requests in: who sent one knows its name."""
    for folder in (audio_dir() / WORK_FOLDER, audio_dir() / UPLOADS_FOLDER):
        sentence = re.sub(rf"{re.escape(str(folder))}(?:/[^/\s\"]+)*/", "", sentence)
    return sentence


def answer(problem: ApiError) -> JSONResponse:
    from starlette.responses import JSONResponse

    return JSONResponse(body_of(problem), status_code=problem.status, headers=problem.headers)

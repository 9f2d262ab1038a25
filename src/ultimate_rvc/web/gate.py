"""What a request may ask for and hold, looked at before Gradio does."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ultimate_rvc.server.guard import answered_instead
from ultimate_rvc.server.proxy import path_below

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# Values of controls and settings of jobs, a few kB; files come as uploads, which have a limit of their own.
MAX_BODY_BYTES = 4_000_000
MAX_DEPTH = 64
LARGEST_INTEGER = (
    2**63
)  # an answer with a longer one could not be written, and whoever waits would wait for ever
API = "/gradio_api/"
UPLOAD, LOGIN = f"{API}upload", "/login"  # these send forms instead of JSON
# Through these Gradio fetches any address of the web for anybody.
FETCHES = tuple(
    f"{API}{name}" for name in ("file=http:", "file=https:", "file/http:", "file/https:", "proxy=")
)
FILE_TYPE = "gradio.FileData"
# In no catalogue: nobody who uses the page can meet it.
UNFIT = "This request does not fit what was asked; /gradio_api/info lists what each endpoint takes."


class RefusedError(Exception):
    """A request that is not answered: its status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Gate:
    """Refuses what no page of ours sends: web addresses to fetch, bodies without end, files of the machine.

    Parameters
    ----------
    uploads : Path
        Folder of uploaded files; a request names no other.
    """

    def __init__(self, app: ASGIApp, *, uploads: Path) -> None:
        self._app, self._uploads = app, uploads.resolve()
        self._uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = path_below(scope)
        try:
            _check_target(path)
            if path.rstrip("/") == UPLOAD:
                await self._upload(scope, receive, send)
                return
            if scope["method"] == "POST" and path.rstrip("/") != LOGIN:
                body = await _whole_body(receive)
                self._check(body)
                receive = _given_back(body, receive)
        except RefusedError as refused:
            await _refusal(refused)(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Gradio answer; where it fails over what was asked, in its place."""

        def told(error: Exception) -> ASGIApp:
            log.warning("Gradio could not answer %s %s", scope["method"], scope["path"], exc_info=error)
            return _refusal(RefusedError(400, UNFIT))

        await answered_instead(self._app, scope, receive, send, told)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Gradio take the files, and remove what it leaves of those that were too large or broke off.

        While files arrive they lie in the folder of uploads itself, whole ones in folders below it.
        """
        self._uploading += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._uploading -= 1
            if self._uploading == 0 and self._uploads.is_dir():
                for path in self._uploads.iterdir():
                    if path.is_file():
                        path.unlink(missing_ok=True)

    def _check(self, body: bytes) -> None:
        if not body:
            return
        try:
            given = json.loads(body, parse_constant=_refuse_no_number)
        except (ValueError, RecursionError):  # json counts bytes that are no UTF-8 among the former
            raise RefusedError(400, "The body of this request is no JSON.") from None
        if not isinstance(given, dict):
            raise RefusedError(400, "The body of this request must be a JSON object.")
        for value in _values(given):
            if isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
                raise RefusedError(400, "A number in this request is out of range.")
            if isinstance(value, dict) and _is_file(value):
                self._check_file(value["path"])

    def _check_file(self, path: object) -> None:
        try:
            is_upload = isinstance(path, str) and Path(path).resolve().is_relative_to(self._uploads)
            is_there = is_upload and Path(str(path)).is_file()
        except (OSError, ValueError):  # too long, or with a zero byte
            is_there = False
        if not is_there:
            raise RefusedError(400, "A file in this request was not uploaded; upload it first.")


def _refusal(refused: RefusedError) -> ASGIApp:
    from starlette.responses import JSONResponse

    return JSONResponse({"detail": refused.sentence}, status_code=refused.status)


async def tell_unfit(request: Request, error: Exception) -> Response:
    """For FastAPI, which would list what is wrong with the body instead."""
    from starlette.responses import JSONResponse

    return JSONResponse({"detail": UNFIT}, status_code=422)


def _check_target(path: str) -> None:
    # Starlette has decoded the path once; Gradio's client encodes it twice in places.
    for target in (path, unquote(path)):
        if target.replace("//", "/").startswith(FETCHES):
            raise RefusedError(403, "This server fetches nothing from other servers for you.")


async def _whole_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":  # whoever asked is gone
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise RefusedError(413, f"This request has more than {MAX_BODY_BYTES // 10**6} MB; upload files.")
        if not message.get("more_body"):
            return bytes(body)


def _given_back(body: bytes, receive: Receive) -> Receive:
    """``receive`` as it was before the body was read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _values(given: Any) -> Iterator[Any]:
    """Every value within ``given``, at any depth."""
    waiting = [(given, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise RefusedError(400, "The body of this request is nested too deeply.")
        yield value
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting.extend((each, depth + 1) for each in inner)


def _refuse_no_number(name: str) -> None:
    raise RefusedError(400, f"{name} in this request is no number.")


def _is_file(value: dict[str, Any]) -> bool:
    meta = value.get("meta")
    return "path" in value and isinstance(meta, dict) and meta.get("_type") == FILE_TYPE

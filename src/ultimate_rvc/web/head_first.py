"""Our script at the start of the page's head: it runs before Gradio does, which chooses its language once."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from ultimate_rvc.web.texts import languages
from ultimate_rvc.web.theme import HEAD_FILE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = b"<head>"


@functools.cache
def head() -> str:
    """What stands first in the head: how a browser finds its language."""
    return HEAD_FILE.read_text(encoding="utf-8").replace("LANGUAGES", json.dumps(languages()), 1)


class HeadFirst:
    """Writes :func:`head` into the page of every language; Gradio itself would add it when all is loaded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._ends = {"", *languages()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["path"].rsplit("/", 1)[-1] in self._ends
        await self._app(scope, receive, _Written(send) if is_page else send)


class _Written:
    """Passes an answer on when it is whole, with the head in it if it is a page."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_html(message):
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = self._body.replace(HEAD, HEAD + head().encode(), 1)
        others = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await self._send({**self._start, "headers": [*others, length]})
        await self._send({"type": "http.response.body", "body": body})


def _is_html(start: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/html") for name, value in start["headers"])

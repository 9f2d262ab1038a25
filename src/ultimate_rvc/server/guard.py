"""What every request must pass before anything reads it: key, rate, size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ultimate_rvc.server.keys import Keys, RateLimit
from ultimate_rvc.server.problems import ApiError, answer, as_problem, busy
from ultimate_rvc.server.proxy import path_below

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # for what watches over the server
KEY_HEADERS = ("authorization", "xi-api-key", "x-api-key")
CLIENT = "client"  # of the state of a request: who asks


class Guard:
    """Lets through who has a key, as often as it may ask, with no more than may be sent.

    Without ``keys`` everybody is let in: whoever starts a server decides that. What it refuses is an
    :class:`ApiError`, which :class:`Answered` tells.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys, rate: RateLimit, max_bytes: int) -> None:
        self._app, self._keys, self._rate, self._max_bytes = app, keys, rate, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or path_below(scope) in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        scope.setdefault("state", {})[CLIENT] = self._admitted(headers, scope)
        await self._app(scope, self._measured(headers, receive), send)

    def _admitted(self, headers: dict[str, str], scope: Scope) -> str:
        """Who asks: the name of its key, else its address."""
        client = (scope.get("client") or ("local",))[0]
        if self._keys:
            key = next((headers[name] for name in KEY_HEADERS if headers.get(name)), "")
            name = self._keys.name_of(key.removeprefix("Bearer ").removeprefix("bearer "))
            if name is None:
                raise ApiError(401, "This needs an API key: send it as Authorization: Bearer KEY.")
            client = name
        if wait := self._rate.seconds_to_wait(client):
            raise busy("This key has made all the requests of this minute; ask again later.", wait)
        return client

    def _measured(self, headers: dict[str, str], receive: Receive) -> Receive:
        """``receive`` that ends where there is too much."""
        too_large = ApiError(413, f"A request may have {self._max_bytes / 1e6:g} MB at most.")
        said = headers.get("content-length", "")
        if said.isdecimal() and int(said) > self._max_bytes:
            raise too_large
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise too_large
            return message

        return counted


class Answered:
    """Answers where what is within it fails: one sentence, no traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await answered_instead(self._app, scope, receive, send, lambda error: answer(as_problem(error)))


async def answered_instead(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, told: Callable[[Exception], ASGIApp]
) -> None:
    """Let ``app`` answer; where it fails before it has begun to, what ``told`` makes of the error does."""
    begun = False

    async def noted(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await app(scope, receive, noted)
    except Exception as error:
        if begun:
            raise
        await told(error)(scope, receive, send)

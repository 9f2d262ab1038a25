"""Requests that a browser sends for the page of someone else are refused before anything looks at them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
CROSS_SITE = "cross-site"
READS = frozenset({"GET", "HEAD"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OwnOrigin:
    """Lets through what comes from the server's own page, or from a program, which names no origin.

    Parameters
    ----------
    only_local : bool
        Whether this machine only is served. Then a ``Host`` of another name is refused too: it is a foreign
        name that somebody pointed here, so that their page counts as ours.
    allowed : texts
        Origins of other pages that may ask, such as ``https://example.com``.
    """

    def __init__(self, app: ASGIApp, *, only_local: bool, allowed: Collection[str] = ()) -> None:
        self._app, self._only_local, self._allowed = app, only_local, frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_welcome(scope):
            from starlette.responses import PlainTextResponse

            refusal = PlainTextResponse("Requests from other sites are refused.", status_code=403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_welcome(self, scope: Scope) -> bool:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self._only_local and urlsplit(f"//{host}").hostname not in LOCAL_NAMES:
            return False
        if origin := headers.get("origin"):
            return origin in self._allowed or bool(urlsplit(origin).netloc == host)
        is_read = scope.get("method", "GET") in READS
        return is_read or bool(headers.get("sec-fetch-site") != CROSS_SITE)

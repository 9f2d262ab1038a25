"""Behind a proxy: under which address a request was sent, and how it looks to what answers it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ultimate_rvc.errors import SettingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Letters that an address takes as they are; a part of dots only would mean another folder.
_ROOT_PATH = re.compile(r"(/(?!\.+(/|$))[A-Za-z0-9._~-]+)*/?", re.ASCII)
HOST, PROTOCOL, PREFIX = b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix"
SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss")}


def checked_root_path(given: str, field: str) -> str:
    """``/rvc`` for ``/rvc`` and ``/rvc/``, nothing for ``/``.

    Raises
    ------
    SettingError
        It is no path; the sentence begins with ``field``.
    """
    if not given.startswith("/") or not _ROOT_PATH.fullmatch(given):
        raise SettingError(
            f'{field} is {given!r}, but must begin with "/" and hold letters, digits, ".", "_", "~" and "-" only, '
            "such as /rvc.",
            field,
        )
    return given.rstrip("/")


def path_below(scope: Scope) -> str:
    """The path of a request without the one below which everything is served."""
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    is_below = path == root_path or path.startswith(f"{root_path}/")
    return path.removeprefix(root_path) if is_below else path


class BehindProxy:
    """Gives every request the address that its browser used, whether the proxy took the prefix off or not.

    Host and scheme are those of ``X-Forwarded-Host`` and ``X-Forwarded-Proto``, where the proxy sends them. Only for
    a server with a proxy before it: anybody else could write what they like into these headers.

    Parameters
    ----------
    root_path : str
        Below which path the proxy serves; empty for what ``X-Forwarded-Prefix`` says, else the top.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse, RedirectResponse

        try:
            seen = self._as_the_browser_sent_it(scope)
        except SettingError as error:
            await PlainTextResponse(str(error), status_code=400)(scope, receive, send)
            return
        root_path = seen["root_path"]
        if scope["type"] == "http" and root_path and scope["path"] == root_path:
            # Relative links of the page would lead out of its folder.
            await RedirectResponse(f"{root_path}/")(scope, receive, send)
            return

        async def rooted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, _rooted(value, seen) if name.lower() == b"location" else value)
                    for name, value in message.get("headers", ())
                ]
            await send(message)

        await self._app(seen, receive, rooted if root_path else send)

    def _as_the_browser_sent_it(self, scope: Scope) -> Scope:
        headers = dict(scope["headers"])
        root_path = self._root_path
        if not root_path and (prefix := _first(headers.get(PREFIX))):
            root_path = checked_root_path(prefix, "X-Forwarded-Prefix")
        path = path_below({"path": scope["path"], "root_path": root_path})
        seen = {**scope, "root_path": root_path, "path": root_path + path}
        if schemes := SCHEMES.get(_first(headers.get(PROTOCOL))):
            seen["scheme"] = schemes[scope["type"] == "websocket"]
        if host := _first(headers.get(HOST)):
            # Gradio would read X-Forwarded-Host too, and then forget the path.
            kept = [pair for pair in scope["headers"] if pair[0] not in (b"host", HOST)]
            seen["headers"] = [(b"host", host.encode("latin-1")), *kept]
        return seen


def _first(header: bytes | None) -> str:
    """Each proxy on the way appends its own; the first stands next to the browser."""
    return (header or b"").decode("latin-1").split(",")[0].strip()


def _rooted(location: bytes, scope: Scope) -> bytes:
    """Where an answer sends the browser, below the root path."""
    target, root_path = urlsplit(location.decode("latin-1")), scope["root_path"]
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    is_ours = target.path.startswith("/") and target.netloc in ("", host)
    if not is_ours or target.path == root_path or target.path.startswith(f"{root_path}/"):
        return location
    return target._replace(path=root_path + target.path).geturl().encode("latin-1")

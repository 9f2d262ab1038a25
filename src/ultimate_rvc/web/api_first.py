"""The HTTP API on the page's own server: what is addressed to it goes there, all else to the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ultimate_rvc.server.app import beginnings
from ultimate_rvc.server.proxy import path_below

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send


class ApiFirst:
    """Hands requests whose address begins as one of the API's does to ``api``."""

    def __init__(self, app: ASGIApp, *, api: FastAPI) -> None:
        self._app, self._api, self._beginnings = app, api, beginnings(api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_for_api = (
            scope["type"] == "http" and path_below(scope).removeprefix("/").split("/")[0] in self._beginnings
        )
        await (self._api if is_for_api else self._app)(scope, receive, send)

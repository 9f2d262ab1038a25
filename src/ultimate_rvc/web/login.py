"""The page on which a browser logs in, as the rest looks: Gradio's own has neither our words nor our style."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from ultimate_rvc.server.proxy import path_below
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, Texts, language_links, languages, load_texts
from ultimate_rvc.web.theme import STYLE

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

PAGE = Path(__file__).parent / "login.html"
WORDS = ("lead", "user", "password", "go", "wrong", "failed")


def may_enter(connection: HTTPConnection) -> bool:
    """Whether the page asks for no login, or the browser has one: Gradio keeps both."""
    app = connection.scope.get("app")
    if getattr(app, "auth", None) is None:
        return True
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")  # type: ignore[union-attr]
    return any(connection.cookies.get(name) in app.tokens for name in names)  # type: ignore[union-attr]


class LoginFirst:
    """Answers with the login where a browser that has none asks for the page; Gradio takes name and password."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        language = _asked_language(scope)
        if language is not None:
            from starlette.requests import HTTPConnection
            from starlette.responses import HTMLResponse

            if not may_enter(HTTPConnection(scope)):
                page = login_page(load_texts(language))
                await HTMLResponse(page, headers={"Cache-Control": "no-store"})(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _asked_language(scope: Scope) -> str | None:
    """The language of the page that is asked for; None where it is no page."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    name = path_below(scope).removeprefix("/") or DEFAULT_LANGUAGE
    return name if name in languages() else None


def login_page(texts: Texts) -> str:
    """The page in one language."""
    words = {word: escape(texts(f"login.{word}")) for word in WORDS}
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        words,
        language=texts.language,
        style=STYLE.read_text(encoding="utf-8"),
        languages=language_links(texts),
        languages_label=escape(texts("language.label")),
    )

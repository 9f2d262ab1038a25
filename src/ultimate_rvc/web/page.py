"""The page: one Blocks application, with a page of its own for each language."""

from __future__ import annotations

import json
import secrets
from html import escape
from typing import Any

import gradio as gr

from ultimate_rvc import __version__
from ultimate_rvc.web import endpoints
from ultimate_rvc.web.desk import Desk, Server
from ultimate_rvc.web.following import QUIET, follow_together
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.tabs import TABS
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, Texts, languages, load_texts

LOOK_SECONDS = 0.7  # how often a page asks whether anything changed
# No secret: it only lets a browser's own notes be read after a restart of the server.
BROWSER_KEY = "ultimate-rvc"
CLIENT_BYTES = 8


def build_page(server: Server) -> gr.Blocks:
    """Lay out the page in every language: the default one at ``/``, others at ``/<language>``."""
    with gr.Blocks(title="Ultimate RVC", analytics_enabled=False, fill_width=True) as page:
        texts = load_texts(DEFAULT_LANGUAGE)
        _language_page(server, texts)
        endpoints.add(server, texts)
    for language in languages():
        if language != DEFAULT_LANGUAGE:
            texts = load_texts(language)
            with page.route(texts("language.name"), f"/{language}", show_in_navbar=False):
                _language_page(server, texts)
    return page


def _language_page(server: Server, texts: Texts) -> None:
    gr.HTML(_header(texts), elem_classes="top", padding=False)
    desk = Desk(
        server=server,
        texts=texts,
        client=gr.BrowserState("", storage_key="urvc-client", secret=BROWSER_KEY),
        optimization=gr.BrowserState({}, storage_key="urvc-optimization", secret=BROWSER_KEY),
        library=gr.State([]),
    )
    panels: list[JobPanel] = []
    with gr.Tabs(overflow_behavior="wrap", elem_id="rail"):
        for name, build in TABS.items():
            with gr.Tab(texts(f"tab.{name}"), id=name, elem_id=f"tab-{name}"):
                gr.HTML(
                    f"<h2>{escape(texts(f'tab.{name}'))}</h2><p>{escape(texts(f'{name}.lead'))}</p>",
                    padding=False,
                )
                panels += build(desk)

    def look() -> list[Any]:
        return [server.queue.revision, server.library_stamp()]

    def arrive(client: str) -> list[Any]:
        client = client or secrets.token_hex(CLIENT_BYTES)
        return [client, *look(), *(panel.latest(client) for panel in panels), gr.Timer(active=True)]

    # Queued, though they are quick: only a queued event lets the change events of states follow.
    page = gr.context.Context.root_block
    assert page is not None  # a Blocks is open: components were just put into it
    revision = gr.State(-1)
    changes = [revision, desk.library]
    # It begins with the arrival: before that, all would look once more than they need.
    timer = gr.Timer(LOOK_SECONDS, active=False)
    places = [desk.client, *changes, *(panel.job_id for panel in panels), timer]
    page.load(arrive, desk.client, places, **QUIET)
    timer.tick(look, None, changes, **QUIET)
    follow_together(desk.job_followers, revision.change)
    follow_together(desk.library_followers, desk.library.change)


def _header(texts: Texts) -> str:
    links = " ".join(
        f'<a href="/{"" if language == DEFAULT_LANGUAGE else language}" data-language="{language}" '
        f'lang="{language}"'
        f"{' aria-current=page' if language == texts.language else ''}>"
        f"{escape(load_texts(language)('language.name'))}</a>"
        for language in languages()
    )
    # Gradio's drop zones speak the browser's language, which need not be the page's.
    words = f"<style>.drop {{ --drop-words: {json.dumps(texts('drop'), ensure_ascii=False)}; }}</style>"
    return (
        f"{words}<header><h1>Ultimate RVC</h1><p>{escape(texts('page.lead'))}</p>"
        f'<nav aria-label="{escape(texts("language.label"))}">{links}</nav>'
        f'<span class="version">{escape(__version__)}</span></header>'
    )

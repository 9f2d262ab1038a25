"""The page: one Blocks application, with a page of its own for each language."""

from __future__ import annotations

import json
import secrets
from html import escape
from typing import Any

import gradio as gr
from gradio.context import Context, set_render_context

from ultimate_rvc import __version__
from ultimate_rvc.web import endpoints
from ultimate_rvc.web.desk import Desk, Server
from ultimate_rvc.web.following import QUIET, Follower, follow_together
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.tabs import TABS
from ultimate_rvc.web.texts import Texts, language_links, languages, load_texts

LOOK_SECONDS = 0.7  # how often a page asks whether anything changed
# No secret: it only lets a browser's own notes be read after a restart of the server.
BROWSER_KEY = "ultimate-rvc"
CLIENT_BYTES = 8


class Languages(gr.Blocks):  # type: ignore[misc]
    """Blocks with a page for each language, made ready to be served once instead of after each page.

    Gradio lays out its application anew whenever it leaves a page: a second of processor time for each language.
    """

    is_complete = False

    def __exit__(self, exc_type: type[BaseException] | None = None, *args: Any) -> None:
        if exc_type is not None or self.is_complete:
            super().__exit__(exc_type, *args)
            return
        # What ``Blocks.__exit__`` does before that.
        self.fill_expected_parents()
        set_render_context(self.parent)
        self.default_config.attach_load_events()
        Context.root_block = None
        self.exited = True


def build_page(server: Server) -> gr.Blocks:
    """Lay out the page in every language: the default one at ``/``, others at ``/<language>``."""
    default, *others = languages()
    page = Languages(title="Ultimate RVC", analytics_enabled=False, fill_width=True)
    page.is_complete = not others
    with page:
        texts = load_texts(default)
        _language_page(server, texts)
        endpoints.add(server, texts)
    for language in others:
        texts = load_texts(language)
        with page.route(texts("language.name"), f"/{language}", show_in_navbar=False):
            page.is_complete = language == others[-1]
            _language_page(server, texts)
    return page


def _language_page(server: Server, texts: Texts) -> None:
    gr.HTML(_header(texts), elem_classes="top", padding=False)
    desk = Desk(
        server=server,
        texts=texts,
        client=gr.BrowserState("", storage_key="urvc-client", secret=BROWSER_KEY),
        optimization=gr.BrowserState(None, storage_key="urvc-optimization", secret=BROWSER_KEY),
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
    page = Context.root_block
    assert page is not None  # a Blocks is open: components were just put into it
    revision = gr.State(-1)
    changes = [revision, desk.library]
    # It begins with the arrival: before that, all would look once more than they need.
    timer = gr.Timer(LOOK_SECONDS, active=False)
    places = [desk.client, *changes, *(panel.job_id for panel in panels), timer]
    follow_together([Follower(arrive, [desk.client], places), *desk.arrivals], page.load)
    # Several at a time: Gradio's client waits for ever for one whose request crossed the server's word that its
    # stream ends, until another request opens a new stream.
    timer.tick(look, None, changes, trigger_mode="multiple", **QUIET)
    follow_together(desk.job_followers, revision.change)
    follow_together(desk.library_followers, desk.library.change)


def _header(texts: Texts) -> str:
    # A short word of our own in drop zones: Gradio's are three lines.
    words = f"<style>.drop {{ --drop-words: {json.dumps(texts('drop'), ensure_ascii=False)}; }}</style>"
    return (
        f"{words}<header><h1>Ultimate RVC</h1><p>{escape(texts('page.lead'))}</p>"
        f'<nav aria-label="{escape(texts("language.label"))}">{language_links(texts)}</nav>'
        f'<span class="version">{escape(__version__)}</span></header>'
    )

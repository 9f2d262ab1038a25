"""The page in a browser, below a path of nginx: nothing is asked for beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from recordings import speech, write
from ultimate_rvc.web.texts import Texts, load_texts
from web.browser.conftest import launch_hearing
from web.browser.test_page_in_browser import give_file, open_tab, press, unfold
from web.nginx import PREFIX, nginx_before, nginx_or_skip
from web.server_process import PATIENCE_SECONDS, server_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

OTHER_LANGUAGE = "zh-TW"
RATE = 48_000


@dataclass
class Visit:
    """A page, and all that went wrong on it."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def note(self, said: ConsoleMessage) -> None:
        # Every browser asks any site for this one, before the page can say where its picture is.
        if said.type == "error" and not said.location["url"].endswith("/favicon.ico"):
            self.problems.append(said.text)


@pytest.fixture(scope="module")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One way of the three that tests/web/test_proxy.py compares: a browser sees no difference between them."""
    nginx_or_skip()
    with (
        server_process(tmp_path_factory.mktemp("machine"), "--root-path", PREFIX) as server,
        nginx_before(server, tmp_path_factory.mktemp("nginx"), strips=True) as url,
    ):
        yield url


@pytest.fixture
def visit(browser: Browser, address: str, tmp_path: Path) -> Iterator[Visit]:
    """A browser of its own, with a microphone for the tab Live."""
    heard = write(tmp_path / "microphone.wav", speech(RATE), sample_rate=RATE)
    opened = launch_hearing(browser, heard)
    context = opened.new_context(
        viewport={"width": 1280, "height": 900}, locale="en", permissions=["microphone"]
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    found = Visit(context.new_page(), address)
    page = found.page
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("console", found.note)
    page.on("request", lambda request: found.asked.append(request.url))
    page.goto(address)
    page.locator("#rail").wait_for()
    yield found
    opened.close()
    paths = {urlsplit(url).path for url in found.asked if url.startswith("http")}
    assert {path for path in paths if not path.startswith(f"{PREFIX}/")} == set()


def test_a_voice_is_imported_and_the_language_changed(visit: Visit, texts: Texts, voice_file: Path) -> None:
    page = visit.page
    tab = open_tab(page, texts, "voices")
    unfold(tab, texts("voices.import.title"))
    give_file(tab, voice_file, tab.get_by_text(voice_file.stem, exact=True).first)
    press(tab, texts("voices.import.go"))
    tab.locator(f'button[data-voice="{voice_file.stem}"]').first.wait_for()
    assert visit.problems == []  # looked at here: Gradio complains of what a page leaves open when it is left
    other = load_texts(OTHER_LANGUAGE)
    settings = open_tab(page, texts, "settings")
    settings.locator(f'a[data-language="{OTHER_LANGUAGE}"]').click()
    page.wait_for_url(f"**{PREFIX}/{OTHER_LANGUAGE}*")
    page.get_by_role("tab", name=other("tab.cover"), exact=True).wait_for()
    assert page.evaluate("document.documentElement.lang") == OTHER_LANGUAGE
    page.goto(visit.url)  # the language that was chosen last opens
    page.wait_for_url(f"**{PREFIX}/{OTHER_LANGUAGE}*")
    open_tab(page, other, "settings").locator('a[data-language="en"]').click()
    page.get_by_role("tab", name=texts("tab.cover"), exact=True).wait_for()


def test_a_voice_goes_through_the_live_socket(visit: Visit, texts: Texts) -> None:
    tab = open_tab(visit.page, texts, "live")
    tab.get_by_label(texts("live.record.label")).check()
    board = tab.locator(".live-board")
    tab.get_by_role("button", name=texts("live.start"), exact=True).click()
    board.get_by_text(texts("live.state.running")).wait_for()
    board.locator("[data-live=load]", has_text="%").wait_for()
    tab.get_by_role("button", name=texts("live.stop"), exact=True).click()
    link = board.locator("[data-live=recorded] a")
    link.wait_for()
    assert (link.get_attribute("href") or "").startswith(f"{PREFIX}/gradio_api/file=")
    assert visit.problems == []
    assert visit.page.request.get(link.evaluate("(link) => link.href")).ok

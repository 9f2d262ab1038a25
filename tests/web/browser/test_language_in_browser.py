"""Which language a browser is shown, by what it asks for, by what was chosen, and at which address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ultimate_rvc.web.head_first import head
from ultimate_rvc.web.texts import language_links, load_texts
from web.server_process import PATIENCE_SECONDS, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

SITE = "http://urvc.example"


@contextmanager
def _visitor(browser: Browser, locale: str) -> Iterator[Page]:
    """Somebody whose browser asks for ``locale``, on a site that has our head and links on every page."""
    context = browser.new_context(locale=locale)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    try:
        page = context.new_page()

        def answer(route: Route) -> None:
            body = (
                f"<!DOCTYPE html><html><head>{head()}</head><body>{language_links(load_texts('en'))}</body>"
            )
            route.fulfill(status=200, content_type="text/html; charset=utf-8", body=body)

        page.route(f"{SITE}/**", answer)
        yield page
    finally:
        context.close()


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("en-US", ""),
        ("zh-TW", "zh-TW"),
        ("zh-HK", "zh-TW"),
        ("zh-Hant", "zh-TW"),
        ("zh-CN", "zh-CN"),
        ("zh", "zh-CN"),
        ("zh-SG", "zh-CN"),
        ("zh-Hans-HK", "zh-CN"),
        ("ja-JP", "ja"),
        ("fr-FR", ""),
    ],
)
@pytest.mark.parametrize("path", ["/", "/rvc/"])
def test_the_browser_decides_where_nothing_was_chosen(
    browser: Browser, locale: str, shown: str, path: str
) -> None:
    with _visitor(browser, locale) as page:
        page.goto(f"{SITE}{path}?view=api#top")
        page.wait_for_url(f"{SITE}{path}{shown}?view=api#top")
        assert page.evaluate("document.documentElement.lang") == (shown or "en")


def test_what_was_chosen_wins_and_stays(browser: Browser) -> None:
    with _visitor(browser, "zh-TW") as page:
        page.goto(f"{SITE}/rvc/")
        page.wait_for_url(f"{SITE}/rvc/zh-TW")
        page.locator('a[data-language="en"]').click()
        page.wait_for_url(f"{SITE}/rvc/")
        page.goto(f"{SITE}/rvc/")
        assert page.url == f"{SITE}/rvc/"
        page.locator('a[data-language="ja"]').click()
        page.wait_for_url(f"{SITE}/rvc/ja")
        page.goto(f"{SITE}/rvc/")
        page.wait_for_url(f"{SITE}/rvc/ja")


def test_an_address_with_a_language_is_shown_in_it(browser: Browser) -> None:
    with _visitor(browser, "en-US") as page:
        page.goto(f"{SITE}/ja")
        assert (page.url, page.evaluate("navigator.language")) == (f"{SITE}/ja", "ja")


@pytest.mark.parametrize(
    ("language", "use_via_api"), [("", "Use via API"), ("zh-TW", "透過 API 使用"), ("ja", "APIを介して使用")]
)
def test_the_words_of_gradio_are_those_of_the_page(
    browser: Browser, server: ServerProcess, language: str, use_via_api: str
) -> None:
    context = browser.new_context(locale="en-US")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto(server.url + language)
    page.locator("footer").get_by_text(use_via_api).wait_for()
    font = page.locator(".top h1").evaluate("(title) => getComputedStyle(title).fontFamily")
    context.close()
    assert ("Hiragino Sans" in font.partition("PingFang TC")[0]) == (language == "ja")

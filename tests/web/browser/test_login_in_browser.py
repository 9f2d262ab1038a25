"""The login in a browser: in our words and colours, and with the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ultimate_rvc.web.texts import Texts, load_texts
from web.server_process import PATIENCE_SECONDS, ServerProcess, server_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAME, PASSWORD = "somebody", "a: secret"
LEAST_CONTRAST = 4.5  # WCAG 2, level AA
# Contrast of each text with what lies behind it, by the formula of WCAG 2.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 255 ? own : behind(element.parentElement);
  };
  return [...document.querySelectorAll("h1, p, label, input, button, a")].map((element) => {
    const two = [light(rgba(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    return [element.textContent || element.id, (two[0] + 0.05) / (two[1] + 0.05)];
  });
}"""


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("machine"), "--auth", f"{NAME}:{PASSWORD}") as running:
        yield running


def opened(browser: Browser, url: str, *, width: int = 1280, color: str = "light") -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        locale="en",
        color_scheme="dark" if color == "dark" else "light",
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto(url)
    return page


def test_only_the_right_password_opens_the_page(
    browser: Browser, guarded: ServerProcess, texts: Texts
) -> None:
    page = opened(browser, guarded.url)
    assert page.title() == "Ultimate RVC"
    page.keyboard.type(NAME)
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text(texts("login.wrong")).wait_for()
    page.get_by_label(texts("login.password")).fill(PASSWORD)
    page.get_by_role("button", name=texts("login.go"), exact=True).click()
    page.locator("#rail").wait_for()
    page.reload()
    page.locator("#rail").wait_for()
    page.context.close()


def test_the_login_speaks_the_language_of_its_address(browser: Browser, guarded: ServerProcess) -> None:
    page = opened(browser, guarded.url)
    page.locator('a[data-language="zh-TW"]').click()
    page.get_by_text(load_texts("zh-TW")("login.lead")).wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-TW"
    page.context.close()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("color", ["light", "dark"])
def test_everything_on_it_can_be_read(
    browser: Browser, guarded: ServerProcess, width: int, color: str
) -> None:
    page = opened(browser, guarded.url, width=width, color=color)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.classList.contains('dark')") is (color == "dark")
    assert [each for each in page.evaluate(CONTRASTS) if each[1] < LEAST_CONTRAST] == []
    page.context.close()

"""A browser and a server for the tests of the page; without a browser they are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gradio_client import Client

from ultimate_rvc.web.texts import Texts, load_texts
from voice_factory import write_voice
from web.server_process import PATIENCE_SECONDS, ServerProcess, server_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NEEDED = "URVC_TESTS_NEED_BROWSER"  # set where the absence of a browser is a failure
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MACOS_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
HOW_TO_GET_ONE = (
    "no Chromium or Chrome found; on Debian and Ubuntu: apt install chromium, on macOS: brew install chromium"
)


def browser_path() -> str | None:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or (MACOS_CHROME if Path(MACOS_CHROME).is_file() else None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file: until Playwright is closed, no other test of the process can have a loop of its own."""
    path = browser_path()
    if path is None:
        (pytest.fail if os.environ.get(NEEDED) else pytest.skip)(HOW_TO_GET_ONE)
    from playwright.sync_api import sync_playwright

    # Chromium refuses its own sandbox to root, which is who tests are in a container.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


def launch_hearing(browser: Browser, heard: Path) -> Browser:
    """A browser of its own: the file that a microphone hears belongs to the browser."""
    flags = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    return browser.browser_type.launch(executable_path=browser_path(), args=flags)


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("machine")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: ServerProcess) -> Iterator[Page]:
    """The page as a newcomer sees it; a script that fails on it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(server.url)
    page.locator("#rail").wait_for()
    yield page
    context.close()
    assert failures == []


@pytest.fixture
def client(server: ServerProcess) -> Client:
    return server.client()


@pytest.fixture(scope="session")
def texts() -> Texts:
    return load_texts("en")


@pytest.fixture(scope="session")
def voice_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small voice that needs nothing that does not ship."""
    path = tmp_path_factory.mktemp("voice") / "uploaded.pth"
    return write_voice(path, "Applio", embedder="starter", sample_rate=32000)

"""The tab Live in a real browser, whose microphone hears a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pytest

from recordings import speech, write
from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.web.texts import Texts
from web.browser.conftest import launch_hearing
from web.server_process import PATIENCE_SECONDS, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RATE = 48_000
SETTING = "#tab-live .setting-{}"


@pytest.fixture
def speaking(browser: Browser, server: ServerProcess, tmp_path: Path) -> Iterator[Page]:
    """A page whose microphone hears a file."""
    heard = write(tmp_path / "microphone.wav", speech(RATE), sample_rate=RATE)
    opened = launch_hearing(browser, heard)
    page = opened.new_context(locale="en", permissions=["microphone"]).new_page()
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(server.url)
    yield page
    opened.close()
    assert failures == []


def test_a_voice_goes_through_the_page_and_comes_back(speaking: Page, texts: Texts) -> None:
    speaking.locator("#rail").get_by_role("tab", name=texts("tab.live"), exact=True).click()
    tab = speaking.locator("#tab-live")
    tab.get_by_label(texts("live.record.label")).check()
    tab.get_by_role("button", name=texts("live.time")).click()
    # A second: tests beside this one take their share of the machine.
    tab.locator(".setting-live-block_ms input[type=number]").fill("1000")
    tab.locator(".setting-live-block_ms input[type=number]").press("Tab")
    board = tab.locator(".live-board")
    tab.get_by_role("button", name=texts("live.start"), exact=True).click()
    board.get_by_text(texts("live.state.running")).wait_for()
    board.locator("[data-live=load]", has_text="%").wait_for()
    assert "ms" in board.locator("[data-live=delay]").inner_text()
    index_rate = tab.locator(".setting-conversion-index_rate input[type=number]")
    index_rate.fill("0.1")
    index_rate.press("Tab")
    speaking.wait_for_timeout(2500)
    assert board.locator("[role=status]").inner_text() == texts("live.state.running")
    tab.get_by_role("button", name=texts("live.stop"), exact=True).click()
    link = board.locator("[data-live=recorded] a")
    link.wait_for()
    assert board.locator("[role=status]").inner_text() == texts("live.state.stopped")
    path = Path(unquote((link.get_attribute("href") or "").removeprefix("/gradio_api/file=")))
    kept = decode_mono(path, 16_000)
    assert len(kept) >= 32_000
    assert np.abs(kept).max() > 0.01

"""Photograph every screen of the page, wide and narrow, light and dark, into docs/images.

python scripts/make_screenshots.py [--folder docs/images] [--whole]

A server with folders of its own is started, a cover of the demo song is made in it by pressing the buttons,
and a text file is imported as a voice, so that the pictures show a page in use. Needs Chromium or Chrome.
With --whole the pictures are as long as the page: to look at, too large to keep.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, sync_playwright

from ultimate_rvc.web.texts import load_texts

TEXTS = load_texts("en")
VOICE = "starter"
TABS = ("cover", "convert", "speech", "voices", "train", "jobs", "settings")
SIZES = {"wide": (1280, 900), "narrow": (400, 860)}
THEMES = ("light", "dark")
QUALITY = 70  # of WebP: text stays sharp
MOST_BYTES = 150_000
LONGEST_PAGE = 6000  # pixels
PATIENCE_SECONDS = 600
PROGRAM = "from ultimate_rvc.web.main import run; run()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[1] / "docs/images")
    parser.add_argument("--whole", action="store_true", help="as long as the page")
    options = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("There is no Chromium.")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    options.folder.mkdir(parents=True, exist_ok=True)
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        notes = use_the_page(browser, url)
        for size in SIZES:
            for theme in THEMES:
                photograph(browser, url, notes, size, theme, options.folder, options.whole)
        browser.close()


@contextmanager
def served() -> Iterator[str]:
    """The address of a server that knows of nothing but what ships."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("URVC_", "RVC_"))}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--listen-port", str(port)],
            env={**kept, "URVC_HOME": home, "URVC_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}/"
        try:
            wait_for(url)
            yield url
        finally:
            process.terminate()
            process.wait()


def wait_for(url: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def use_the_page(browser: Browser, url: str) -> StorageState:
    """Make a cover and fail at an import; returns what the browser keeps, so that others see the same."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto(url)
    cover = open_tab(page, "cover")
    cover.get_by_role("button", name=TEXTS("cover.demo"), exact=True).click()
    link = cover.get_by_placeholder("https://").locator("visible=true")
    page.wait_for_function("(box) => box.value === 'demo'", arg=link.element_handle())
    voice = cover.get_by_role("combobox", name=TEXTS("cover.voice.label"), exact=True)
    voice.locator("visible=true").fill(VOICE)
    voice.locator("visible=true").press("Enter")
    cover.get_by_role("button", name=TEXTS("cover.generate"), exact=True).click()
    cover.locator(".job.done").locator("visible=true").first.wait_for()
    voices = open_tab(page, "voices")
    text = {"name": "renamed.pth", "mimeType": "application/octet-stream", "buffer": b"no voice"}
    voices.locator("input[type=file]").first.set_input_files(text)
    voices.get_by_text("renamed.pth").first.wait_for()
    voices.get_by_role("button", name=TEXTS("voices.import.go"), exact=True).click()
    voices.locator(".job.failed").locator("visible=true").first.wait_for()
    notes = context.storage_state()
    context.close()
    return notes


def open_tab(page: Page, name: str):  # type: ignore[no-untyped-def]
    page.locator("#rail").get_by_role("tab", name=TEXTS(f"tab.{name}"), exact=True).click()
    return page.locator(f"#tab-{name}")


def photograph(
    browser: Browser, url: str, notes: StorageState, size: str, theme: str, folder: Path, whole: bool
) -> None:
    """All tabs at one size in one theme."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        locale="en",
        storage_state=notes,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto(f"{url}?__theme={theme}")
    for name in TABS:
        tab = open_tab(page, name)
        tab.locator("visible=true").first.wait_for()
        if name == "cover":
            tab.locator(".job.done").locator("visible=true").first.wait_for()
        if name == "voices":
            tab.locator(f'button[data-voice="{VOICE}"]').click()
        if name == "jobs":
            tab.get_by_role("radio").last.check()
        write(still_picture(page, whole), folder / f"page-{name}-{size}-{theme}.webp")
    context.close()


def still_picture(page: Page, whole: bool) -> bytes:
    """A picture once nothing moves any more."""
    last = b""
    while True:
        picture = page.screenshot(full_page=whole, animations="disabled", caret="hide")
        if picture == last:
            return picture
        last = picture
        page.wait_for_timeout(700)


def write(picture: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(picture)) as image:
        shown = image.convert("RGB").crop((0, 0, image.width, min(image.height, LONGEST_PAGE)))
        shown.save(path, "WEBP", quality=QUALITY, method=6)
    size = path.stat().st_size
    print(f"{path.name} {size // 1000} kB{' TOO LARGE' if size > MOST_BYTES else ''}")


if __name__ == "__main__":
    main()

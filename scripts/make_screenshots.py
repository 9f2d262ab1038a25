"""Photograph every screen of the page, wide and narrow, light and dark, in every language, into docs/images.

python scripts/make_screenshots.py [--folder docs/images] [--language ja] [--whole] [--walk]

A server with folders of its own is started, a cover of the demo song is made in it by pressing the buttons,
and a text file is imported as a voice, so that the pictures show a page in use. The default language's pictures
lie in the folder itself, those of another in one of its name. Needs Chromium or Chrome.
With --whole the pictures are as long as the page: to look at, too large to keep. With --walk only the first cover is
recorded, as one moving picture: docs/images/walk.webp.
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

from ultimate_rvc.voices.finding import packaged_voices
from ultimate_rvc.web.texts import DEFAULT_LANGUAGE, Texts, languages, load_texts

TEXTS = load_texts(DEFAULT_LANGUAGE)
VOICE = packaged_voices()[0].name
TABS = ("cover", "convert", "speech", "live", "voices", "train", "jobs", "settings")
SIZES = {"wide": (1280, 900), "narrow": (400, 860)}
THEMES = ("light", "dark")
QUALITY = 70  # of WebP: text stays sharp
LEAST_QUALITY = 50
MOST_BYTES = 60_000
WALK_WIDTH = 900
WALK_STILL_MS, WALK_MOVING_MS = 3000, 600
LONGEST_PAGE = 6000  # pixels
PATIENCE_SECONDS = 600
PROGRAM = "from ultimate_rvc.web.main import run; run()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[1] / "docs/images")
    parser.add_argument("--language", choices=languages(), help="only this one")
    parser.add_argument("--whole", action="store_true", help="as long as the page")
    parser.add_argument("--walk", action="store_true", help="only record the first cover")
    options = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("There is no Chromium.")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    options.folder.mkdir(parents=True, exist_ok=True)
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        if options.walk:
            record(browser, url, options.folder / "walk.webp")
        else:
            notes = use_the_page(browser, url)
            for language in [options.language] if options.language else languages():
                folder = options.folder if language == DEFAULT_LANGUAGE else options.folder / language
                folder.mkdir(exist_ok=True)
                for size in SIZES:
                    for theme in THEMES:
                        photograph(
                            browser, url, notes, load_texts(language), size, theme, folder, options.whole
                        )
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


def opened(browser: Browser, url: str) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto(url)
    return page


def use_the_page(browser: Browser, url: str) -> StorageState:
    """Make a cover and fail at an import; returns what the browser keeps, so that others see the same."""
    page = opened(browser, url)
    cover = open_tab(page, "cover", TEXTS)
    cover.get_by_role("button", name=TEXTS("cover.demo"), exact=True).click()
    cover.get_by_text("demo", exact=True).first.wait_for()
    cover.get_by_role("button", name=TEXTS("cover.generate"), exact=True).click()
    cover.locator(".job.done").locator("visible=true").first.wait_for()
    voices = open_tab(page, "voices", TEXTS)
    voices.get_by_role("button", name=TEXTS("voices.import.title")).locator("visible=true").click()
    text = {"name": "renamed.pth", "mimeType": "application/octet-stream", "buffer": b"no voice"}
    voices.locator("input[type=file]").first.set_input_files(text)
    voices.get_by_text("renamed.pth").first.wait_for()
    voices.get_by_role("button", name=TEXTS("voices.import.go"), exact=True).click()
    voices.locator(".job.failed").locator("visible=true").first.wait_for()
    notes = page.context.storage_state()
    page.context.close()
    return notes


def open_tab(page: Page, name: str, texts: Texts):  # type: ignore[no-untyped-def]
    page.locator("#rail").get_by_role("tab", name=texts(f"tab.{name}"), exact=True).click()
    return page.locator(f"#tab-{name}")


def photograph(
    browser: Browser, url: str, notes: StorageState, texts: Texts, size: str, theme: str, folder: Path,
    whole: bool,
) -> None:  # fmt: skip
    """All tabs in one language at one size in one theme."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        locale=texts.language,
        storage_state=notes,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    place = "" if texts.language == DEFAULT_LANGUAGE else texts.language
    page.goto(f"{url}{place}?__theme={theme}")
    for name in TABS:
        tab = open_tab(page, name, texts)
        tab.locator("visible=true").first.wait_for()
        if name == "cover":
            tab.locator(".job.done").locator("visible=true").first.wait_for()
        if name == "voices":
            tab.locator(f'button[data-voice="{VOICE}"]').first.click()
        if name == "jobs":
            tab.locator("[data-open]").last.click()
            tab.locator(".player").locator("visible=true").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
        write(still_picture(page, whole), folder / f"page-{name}-{size}-{theme}.webp")
    context.close()


def record(browser: Browser, url: str, path: Path) -> None:
    """The first cover from the empty page to the stems, as one moving picture."""
    page = opened(browser, url)
    frames: list[tuple[bytes, int]] = []

    def keep(milliseconds: int = WALK_STILL_MS) -> None:
        frames.append((page.screenshot(), milliseconds))

    cover = open_tab(page, "cover", TEXTS)
    cover.locator(".estimate b").wait_for()
    keep()
    cover.get_by_role("button", name=TEXTS("cover.demo"), exact=True).click()
    cover.get_by_text("demo", exact=True).first.wait_for()
    keep()
    cover.get_by_role("button", name=TEXTS("cover.generate"), exact=True).click()
    done = cover.locator(".job.done").locator("visible=true")
    while not done.count():
        keep(WALK_MOVING_MS)
        page.wait_for_timeout(900)
    player = cover.locator("#cover-result .player")
    player.wait_for()
    page.evaluate("scrollTo(0, 0)")
    keep()
    player.get_by_role("button", name=TEXTS("player.play"), exact=True).click()
    for side in ("cover.result.label", "player.original", "cover.result.label"):
        player.get_by_role("button", name=TEXTS(side), exact=True).click()
        for _ in range(4):
            keep(WALK_MOVING_MS)
            page.wait_for_timeout(400)
    player.get_by_role("button", name=TEXTS("player.pause")).click()
    cover.get_by_role("button", name=TEXTS("cover.stems.label")).click()
    keep()
    mixer = cover.locator("urvc-mixer")
    mixer.locator(".play").click()
    for number in range(9):
        if number == 4:
            mixer.get_by_role("button", name=TEXTS("player.solo")).first.click()
        page.wait_for_timeout(700)
        keep(WALK_MOVING_MS)
    mixer.locator(".play").click()
    cover.get_by_role("button", name=TEXTS("job.more")).locator("visible=true").first.click()
    keep()
    voices = open_tab(page, "voices", TEXTS)
    voices.locator(f'button[data-voice="{VOICE}"]').first.click()
    voices.locator(f'button[data-voice="{VOICE}"]').nth(1).wait_for()
    keep()
    open_tab(page, "live", TEXTS)
    keep()
    jobs = open_tab(page, "jobs", TEXTS)
    jobs.locator("[data-open]").last.click()
    jobs.locator(".player").locator("visible=true").first.wait_for()
    keep()
    frames[-1] = (frames[-1][0], 2 * WALK_STILL_MS)
    pictures = [small(picture) for picture, _ in frames]
    pictures[0].save(
        path, "WEBP", save_all=True, append_images=pictures[1:], duration=[length for _, length in frames],
        loop=0, quality=QUALITY, method=4, minimize_size=True,
    )  # fmt: skip
    print(f"{path.name} {path.stat().st_size // 1000} kB, {sum(length for _, length in frames) / 1000:.0f} s")


def small(picture: bytes) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as image:
        height = round(image.height * WALK_WIDTH / image.width)
        return image.convert("RGB").resize((WALK_WIDTH, height), Image.Resampling.LANCZOS)


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
        for quality in range(QUALITY, LEAST_QUALITY - 1, -5):
            shown.save(path, "WEBP", quality=quality, method=6)
            size = path.stat().st_size
            if size <= MOST_BYTES:
                break
    print(f"{path.name} {size // 1000} kB{' TOO LARGE' if size > MOST_BYTES else ''}")


if __name__ == "__main__":
    main()

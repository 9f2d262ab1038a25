"""The tab Settings in a browser: models are fetched, checked and removed where they are listed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ultimate_rvc.assets.registry import asset
from ultimate_rvc.assets.stamps import remember_hash
from ultimate_rvc.switches import SWITCHES
from ultimate_rvc.web.controls import css_class
from ultimate_rvc.web.texts import Texts
from web.browser.test_page_in_browser import open_tab, press, state_of, unfold, wait_until
from web.server_process import ServerProcess, server_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

MODEL = "separation-mdx-light"
BEGINNING = bytes(1 << 16)


class Slow(BaseHTTPRequestHandler):
    """Sends the beginning of every file, and nothing more until the test is over."""

    over = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(asset(MODEL).bytes))
        self.end_headers()
        self.wfile.write(BEGINNING)
        self.wfile.flush()
        self.over.wait()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A page that fetches models from a server that never ends."""
    mirror = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    mirror.daemon_threads = True
    threading.Thread(target=mirror.serve_forever, daemon=True).start()
    variables = {
        "URVC_OFFLINE": "",
        "URVC_HF_ENDPOINT": f"http://127.0.0.1:{mirror.server_port}",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    with server_process(tmp_path_factory.mktemp("machine"), variables=variables) as running:
        yield running
    Slow.over.set()
    mirror.shutdown()


@pytest.fixture
def tab(page: Page, texts: Texts) -> Locator:
    found = open_tab(page, texts, "settings")
    row(found).wait_for()
    return found


def row(tab: Locator, name: str = MODEL) -> Locator:
    return tab.locator(f'[data-row="{name}"]')


def button(tab: Locator, texts: Texts, action: str, name: str = MODEL) -> Locator:
    return row(tab, name).get_by_role("button", name=f"{texts(f'models.{action}')}: {name}", exact=True)


def state(tab: Locator, name: str = MODEL) -> str:
    return row(tab, name).locator(".badge").inner_text()


def pretended(server: ServerProcess) -> Path:
    """A model's file of the right length, whose bytes were noted as right."""
    (file,) = asset(MODEL).files
    path = server.home / "models" / file.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as opened:
        opened.truncate(file.contents[0].bytes)
    remember_hash(path, file.contents[0].sha256)
    return path


def test_a_model_is_fetched_with_the_keyboard_and_the_download_cancelled(
    page: Page, tab: Locator, texts: Texts
) -> None:
    assert state(tab) == texts("asset_state.absent")
    assert texts("models.use.vocals") in row(tab).inner_text()
    assert "30 MB" in row(tab).inner_text()
    button(tab, texts, "get").focus()
    page.keyboard.press("Enter")
    state_of(tab, "running").wait_for()
    wait_until(page, lambda: state(tab) == texts("models.coming"))
    assert button(tab, texts, "get").count() == 0
    page.reload()
    tab = open_tab(page, texts, "settings")
    wait_until(page, lambda: state(tab) == texts("models.coming"))
    press(tab, texts("job.cancel"))
    state_of(tab, "cancelled").wait_for()
    button(tab, texts, "get").wait_for()


def shown_present(page: Page, tab: Locator, texts: Texts, server: ServerProcess) -> Path:
    """A pretended model, once the page shows it."""
    path = pretended(server)
    page.reload()
    open_tab(page, texts, "settings")
    wait_until(page, lambda: state(tab) == texts("asset_state.present"))
    return path


def test_a_model_is_checked_and_removed(
    page: Page, tab: Locator, texts: Texts, server: ServerProcess
) -> None:
    path = shown_present(page, tab, texts, server)
    button(tab, texts, "check").click()
    page.get_by_text(texts("models.damaged", names=MODEL)).first.wait_for()
    wait_until(page, lambda: state(tab) == texts("asset_state.damaged"))
    page.once("dialog", lambda dialog: dialog.dismiss())
    button(tab, texts, "remove").click()
    assert path.is_file()
    page.once("dialog", lambda dialog: dialog.accept())
    button(tab, texts, "remove").click()
    wait_until(page, lambda: state(tab) == texts("asset_state.absent"))
    assert not path.exists()


def test_what_cannot_be_done_is_told_below_the_models(
    page: Page, tab: Locator, texts: Texts, server: ServerProcess
) -> None:
    path = shown_present(page, tab, texts, server)
    path.unlink()  # by somebody else, while the page shows it
    page.once("dialog", lambda dialog: dialog.accept())
    button(tab, texts, "remove").click()
    told = tab.get_by_role("alert").locator("visible=true").first
    told.wait_for()
    assert MODEL in told.inner_text()


def test_rare_models_are_folded(tab: Locator, texts: Texts) -> None:
    rare = row(tab, "spin")
    assert not rare.is_visible()
    unfold(tab, texts("models.all"))
    rare.wait_for()
    assert button(tab, texts, "get", "spin").is_visible()


def test_the_machine_says_in_sentences_what_it_does(page: Page, tab: Locator, texts: Texts) -> None:
    told = tab.locator(".machine")
    chosen = texts("machine.device", value=texts("machine.device.cpu"), who=texts("machine.by_hardware"))
    told.get_by_text(chosen, exact=True).wait_for()
    told.get_by_text("(auto): about ").wait_for()
    device = tab.locator(f".{css_class(SWITCHES['device'])} input")
    device.fill("cpu")
    device.press("Enter")
    here = texts("machine.device", value=texts("machine.device.cpu"), who=texts("machine.by_page"))
    told.get_by_text(here, exact=True).wait_for()
    device.fill("cuda:7")
    device.press("Enter")
    told.locator(".problem").wait_for()
    assert "cuda:7" in told.locator(".problem").inner_text()


def test_all_switches_are_in_the_fold_with_what_is_in_force(tab: Locator, texts: Texts) -> None:
    folded = [tab.locator(f".{css_class(entry)}") for name, entry in SWITCHES.items() if name != "device"]
    assert not any(each.is_visible() for each in folded)
    unfold(tab, texts("settings.computed"))
    for each in folded:
        each.wait_for()
    label, _ = texts.setting(SWITCHES["skip_silence"])
    tab.get_by_role("row", name=label).wait_for()


def test_models_stand_before_the_machine_and_that_before_the_switches(tab: Locator, texts: Texts) -> None:
    words = [texts(f"settings.{part}") for part in ("models", "machine", "computed")]
    text = tab.inner_text()
    places = [text.index(f"\n{each}") for each in words]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [400, 1400])
def test_the_unfolded_tab_is_no_wider_than_the_window(
    page: Page, tab: Locator, texts: Texts, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for fold in ("models.all", "settings.computed", "files.title", "settings.folders"):
        unfold(tab, texts(fold))
    row(tab, "pretrained-snowie-x-rine3-40k").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width

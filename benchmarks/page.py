"""The page's start, and that a second conversion loads no model.

    python benchmarks/page.py [--repeats 5] [--json FILE]

start       from the command `urvc-web` to the first page (HTTP 200 of `/`) and to what the browser asks
            for next (`/config`, the layout). Each run is a process of its own, with files that the system has
            read before; minimum and median. Beside the clock's seconds stand the processor's, as others may
            be at work.
browser     in Chromium, where there is one: the first page with its estimate, what it asked for besides Gradio's own
            files, and how long each tab takes from the click until it is drawn.
conversion  the same short file twice through the API: seconds of the step that loads the voice, and whether
            it did, from the job's own figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COMMAND = "from ultimate_rvc.web.main import run; run()"  # what the script urvc-web does
LIMIT_SECONDS = 5.0
LONGEST_START_SECONDS = 300.0
LOOK_SECONDS = 0.02
SOURCE = Path(__file__).resolve().parents[1] / "tests" / "data" / "songs" / "water_vocals.ogg"
VOICE = "starter"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TAB_VISITS, REST_MS = 3, 1500
TABS = """() => [...document.querySelectorAll("#rail > .tab-wrapper button[role=tab]")]
    .map((button) => button.id.slice("tab-".length, -"-button".length))"""
TIMERS = """() => {
    const timers = new Set(gradio_config.components.filter((each) => each.type === "timer").map((each) => each.id));
    return gradio_config.dependencies.filter((each) => each.targets.some(([id]) => timers.has(id)));
}"""
# Drawn: the frame after the one in which the tab has a height.
CHANGE_TAB = """(name) => new Promise((done) => {
    const began = performance.now();
    document.getElementById(`tab-${name}-button`).click();
    const look = () => requestAnimationFrame(
        document.getElementById(`tab-${name}`)?.offsetHeight
            ? () => setTimeout(() => done(performance.now() - began))
            : look
    );
    look();
})"""


@dataclass(frozen=True)
class Start:
    """One start, in seconds since the command was given."""

    first_page: float
    layout: float
    cpu: float
    """Of the processor, until the server was ended at once after the layout."""


@dataclass(frozen=True)
class Browsing:
    """One visit of the page."""

    shown: float
    """Seconds from the address to the page with its estimate."""
    asked: int
    """Requests of the page for what it shows; Gradio's own files and the timer's looks are not among them."""
    tabs_ms: dict[str, list[float]]
    """Of each tab: milliseconds of each visit, the first one first."""


@dataclass(frozen=True)
class Conversion:
    """One conversion as its job told it."""

    loaded_a_model: bool
    load_seconds: float
    convert_seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="starts to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be 1 or more")
    measure_start()  # reads all files once, and compiles them
    starts = [measure_start() for _ in range(options.repeats)]
    browsing = measure_browsing()
    conversions = measure_conversions()
    show(starts, browsing, conversions)
    if options.json:
        figures = {
            "starts": list(map(asdict, starts)),
            "browsing": asdict(browsing) if browsing else None,
            "conversions": list(map(asdict, conversions)),
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if conversions[1].loaded_a_model:
        sys.exit("The second conversion loaded a model.")


def measure_start() -> Start:
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as (process, url, began):
        _fetch(url, process)
        first_page = time.monotonic() - began
        _fetch(f"{url}config", process)
        layout = time.monotonic() - began
        process.send_signal(signal.SIGKILL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = -signal.SIGKILL  # it has been waited for
    return Start(first_page, layout, usage.ru_utime + usage.ru_stime)


def measure_browsing() -> Browsing | None:
    """A visit in a real browser; None where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        return None
    from playwright.sync_api import Request, sync_playwright

    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as home,
        served(Path(home)) as (process, url, _),
        sync_playwright() as playwright,
    ):
        _fetch(url, process)
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: list[object] = []

        def note(request: Request) -> None:
            if request.url.endswith("queue/join?"):
                asked.append(json.loads(request.post_data or "{}")["fn_index"])

        page.on("request", note)
        began = time.monotonic()
        page.goto(url)
        page.locator(".estimate b").first.wait_for()
        shown = time.monotonic() - began
        timers = {each["id"] for each in page.evaluate(TIMERS)}
        tabs: dict[str, list[float]] = {}
        names = page.evaluate(TABS)
        for name in [*names[1:], names[0]] * TAB_VISITS:
            page.wait_for_timeout(REST_MS)
            tabs.setdefault(name, []).append(page.evaluate(CHANGE_TAB, name))
        browser.close()
    return Browsing(shown, sum(number not in timers for number in asked), tabs)


def measure_conversions() -> list[Conversion]:
    from gradio_client import Client, handle_file

    with tempfile.TemporaryDirectory() as home, served(Path(home)) as (process, url, _):
        _fetch(url, process)
        client = Client(url, verbose=False)
        found = []
        for _ in range(2):
            job = client.predict([handle_file(SOURCE)], VOICE, {}, "wav", {}, "", api_name="/convert")
            while job["state"] in ("queued", "running"):
                job = client.predict(job["id"], 60, "", api_name="/wait_for_job")
            if job["state"] != "done":
                raise SystemExit(job["error"])
            found.append(_conversion(job["result"]))
    return found


def _conversion(result: dict[str, Any]) -> Conversion:
    seconds = {step["name"]: step["seconds"] for step in result["steps"]}
    return Conversion(result["facts"]["was_loaded"], seconds["load voice"], seconds["convert"])


@contextmanager
def served(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """A server with folders of its own: its process, its address, and when the command was given."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {"URVC_HOME": str(home), "URVC_AUDIO_DIR": str(home / "audio"), "URVC_OFFLINE": "1"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--listen-port", str(port)],
        env={**os.environ, **folders},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, f"http://127.0.0.1:{port}/", began
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait(timeout=60)


def _fetch(address: str, process: subprocess.Popen[bytes]) -> None:
    """Ask until there is an answer; anything but 200 is an error."""
    end = time.monotonic() + LONGEST_START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"The server ended with {process.returncode}.")
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                answer.read()
                return
        except urllib.error.HTTPError:
            raise
        except OSError:  # it does not listen yet
            time.sleep(LOOK_SECONDS)
    raise SystemExit(f"There was no answer within {LONGEST_START_SECONDS:g} s.")


def show(starts: Sequence[Start], browsing: Browsing | None, conversions: Sequence[Conversion]) -> None:
    print("start             minimum   median")
    for name, title in (("first_page", "first page"), ("layout", "layout"), ("cpu", "processor")):
        values = [getattr(start, name) for start in starts]
        print(f"{title:<16} {min(values):>6.2f} s {statistics.median(values):>6.2f} s")
    best = min(start.first_page for start in starts)
    print(f"first page under {LIMIT_SECONDS:g} s: {'yes' if best < LIMIT_SECONDS else 'no'}\n")
    if browsing:
        times = [each for visits in browsing.tabs_ms.values() for each in visits]
        print(f"in a browser: {browsing.shown:.2f} s, {browsing.asked} requests")
        print(
            f"change of a tab: {statistics.median(times):.0f} ms in the middle, {max(times):.0f} ms at most\n"
        )
    else:
        print("no Chromium or Chrome: the page was not opened in a browser\n")
    print("conversion   loads a model   load      convert")
    for number, each in enumerate(conversions, start=1):
        loads = "yes" if each.loaded_a_model else "no"
        print(f"{number:<12} {loads:<15} {each.load_seconds:>6.3f} s  {each.convert_seconds:>6.2f} s")


if __name__ == "__main__":
    main()

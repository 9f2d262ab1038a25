"""The page for everybody: in view, by keyboard and screen reader, with contrast, and an address for each place."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gradio_client import Client

from ultimate_rvc.web.head_first import head
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.web.theme import STYLE, page_scripts
from voice_factory import write_voice
from web.browser.test_page_in_browser import (
    VOICE,
    choose_demo,
    choose_voice,
    give_file,
    open_tab,
    press,
    state_of,
    wait_until,
)
from web.server_process import PATIENCE_SECONDS, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SONG = Path(__file__).parents[2] / "data" / "songs" / "water_vocals.ogg"
TABS = ("cover", "convert", "speech", "live", "voices", "train", "jobs", "settings")
SERIOUS = ("serious", "critical")
LEAST_CONTRAST = {"text": 4.5, "control": 3.0}

# Contrast of a colour with what lies behind it, as WCAG 2.2 computes it.
CONTRAST = """(element) => {
    const parse = (text) => {
        const [red, green, blue, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
        return { parts: [red, green, blue], alpha };
    };
    const light = (parts) => parts
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const behind = (node) => {
        for (let each = node; each; each = each.parentElement) {
            const found = parse(getComputedStyle(each).backgroundColor);
            if (found.alpha === 1) return found.parts;
        }
        return [255, 255, 255];
    };
    const style = getComputedStyle(element);
    const isButton = element.matches('.play');
    const front = element.matches('path') ? style.stroke : isButton ? style.backgroundColor : style.color;
    const back = behind(isButton ? element.parentElement : element);
    const [high, low] = [light(parse(front).parts), light(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}"""

# A busy browser: the server's word that it ends a stream of events is read late, when more has been asked for.
LATE_ENDINGS = """
(() => {
  const LATE_MS = 1500, fetched = window.fetch;
  window.endings = 0;
  window.fetch = async (asked, options) => {
    const answer = await fetched(asked, options);
    if (!(asked.url ?? String(asked)).includes('/queue/data')) return answer;
    let rest = '';
    const late = new TransformStream({
      async transform(text, controller) {
        const messages = (rest + text).split('\\n\\n');
        rest = messages.pop();
        for (const message of messages) {
          if (message.includes('close_stream')) {
            endings += 1;
            await new Promise((go) => setTimeout(go, LATE_MS));
          }
          controller.enqueue(message + '\\n\\n');
        }
      },
    });
    const body = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(late);
    return new Response(body.pipeThrough(new TextEncoderStream()), { headers: answer.headers });
  };
})();
"""


def in_view(page: Page, found: Locator) -> bool:
    box = found.bounding_box()
    size = page.viewport_size
    assert size is not None
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= size["height"]


@pytest.mark.parametrize("width", [360, 1280])
def test_generate_is_in_view_at_once_with_quality_and_time(page: Page, texts: Texts, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 780})
    tab = open_tab(page, texts, "cover")
    tab.locator(".estimate b").wait_for()
    generate = tab.get_by_role("button", name=texts("cover.generate"), exact=True)
    wait_until(page, lambda: in_view(page, generate))
    assert in_view(page, tab.get_by_role("radio").locator("visible=true").first)
    assert in_view(page, tab.locator(".estimate b"))


def test_progress_and_cancel_are_in_view_on_a_phone_and_say_what_is_done(page: Page, texts: Texts) -> None:
    page.set_viewport_size({"width": 400, "height": 780})
    tab = open_tab(page, texts, "cover")
    choose_demo(tab, texts)
    choose_voice(tab, texts, VOICE)
    press(tab, texts("cover.generate"))
    running = state_of(tab, "running")
    running.wait_for()
    bar = tab.get_by_role("progressbar").locator("visible=true").first
    assert bar.get_attribute("aria-label")  # a step, from the first second on
    cancel = tab.get_by_role("button", name=texts("job.cancel"), exact=True).locator("visible=true")
    wait_until(page, lambda: in_view(page, cancel))
    ticking = tab.locator("[data-elapsed]").first
    shown = ticking.inner_text()
    wait_until(page, lambda: ticking.inner_text() != shown)
    press(tab, texts("job.cancel"))
    state_of(tab, "cancelled").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_players_have_contrast(page: Page, server: ServerProcess, theme: str) -> None:
    page.goto(f"{server.url}?__theme={theme}")
    player = page.locator(".sample .player")
    player.wait_for()
    measured = {
        part: (kind, float(player.locator(part).first.evaluate(CONTRAST)))
        for part, kind in {
            ".player-head b": "text", ".time": "text", ".download": "text",
            ".sides [aria-pressed=true]": "text", ".sides [aria-pressed=false]": "text",
            ".wave path": "control", ".play": "control",
        }.items()
    }  # fmt: skip
    assert {part: found for part, (kind, found) in measured.items() if found < LEAST_CONTRAST[kind]} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_players_of_gradio_have_contrast_too(
    page: Page, texts: Texts, server: ServerProcess, theme: str
) -> None:
    """Where the steps take a sound, what was given can be heard."""
    page.goto(f"{server.url}?__theme={theme}")
    tab = open_tab(page, texts, "cover")
    tab.get_by_role("tab", name=texts("cover.steps"), exact=True).click()
    given = tab.locator("#steps-vocals-input")
    play = given.locator(".play-pause-button")
    give_file(given, SONG, play)
    measured = {
        part: (kind, float(given.locator(part).first.evaluate(CONTRAST)))
        for part, kind in {
            "#time": "text", "#duration": "text", ".playback": "text",
            ".rewind": "control", ".skip": "control", ".play-pause-button": "control", ".action": "control",
        }.items()
    }  # fmt: skip
    assert {part: found for part, (kind, found) in measured.items() if found < LEAST_CONTRAST[kind]} == {}


def findings(page: Page) -> list[str]:
    """What axe-core finds serious on the page as it is shown."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_is_found_by_axe(page: Page, texts: Texts, server: ServerProcess, theme: str) -> None:
    page.goto(f"{server.url}?__theme={theme}")
    told = {}
    for name in TABS:
        tab = open_tab(page, texts, name)
        tab.locator("visible=true").first.wait_for()
        if found := findings(page):
            told[name] = found
    assert told == {}, json.dumps(told, indent=1)


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_scrolls_sideways(page: Page, texts: Texts, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for name in TABS:
        open_tab(page, texts, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_each_tab_has_an_address_and_the_browser_goes_back(
    page: Page, texts: Texts, server: ServerProcess
) -> None:
    open_tab(page, texts, "voices")
    page.wait_for_url("**/#voices")
    open_tab(page, texts, "train")
    page.wait_for_url("**/#train")
    assert page.title().startswith(texts("tab.train"))
    page.go_back()
    page.locator("#tab-voices").locator("visible=true").first.wait_for()
    page.go_forward()
    page.locator("#tab-train").locator("visible=true").first.wait_for()
    page.goto(f"{server.url}#speech")
    page.reload()
    page.locator("#tab-speech").locator("visible=true").first.wait_for()


def test_a_job_is_linked_opened_and_run_again(
    page: Page, texts: Texts, client: Client, server: ServerProcess
) -> None:
    tab = open_tab(page, texts, "speech")
    tab.locator("textarea").locator("visible=true").first.fill("A short one.")
    choose_voice(tab, texts, VOICE)
    press(tab, texts("speech.go"))
    state_of(tab, "done").wait_for()
    jobs = open_tab(page, texts, "jobs")
    card = jobs.locator(".job-card").first
    card.get_by_role("button", name=texts("jobs.open")).click()
    job = card.get_attribute("data-job")
    page.wait_for_url(f"**/#jobs/{job}")
    jobs.locator(".player audio").wait_for(state="attached")
    page.reload()
    jobs.locator(f'.job-card[data-job="{job}"][aria-current]').wait_for()
    jobs.locator(".player audio").wait_for(state="attached")
    before = len(client.predict("", 100, api_name="/jobs"))
    card.get_by_role("button", name=texts("jobs.again.go")).click()
    wait_until(page, lambda: len(client.predict("", 100, api_name="/jobs")) == before + 1)


def test_a_voice_is_heard_before_it_is_used(page: Page, texts: Texts, server: ServerProcess) -> None:
    """One that ships brings a sample; of another it is made once, and kept."""
    tab = open_tab(page, texts, "voices")
    tab.locator(f'[data-card="{VOICE}"] .mini[data-player]').first.wait_for()
    copied = server.home / "voice_models" / "copied"
    write_voice(copied / "copied.pth", "Applio", embedder="starter", sample_rate=32000)
    ask = tab.locator('[data-card="copied"] [data-do="sample"]').first
    ask.wait_for()
    ask.click()
    tab.locator('[data-card="copied"] .mini[data-player]').first.wait_for()
    assert len(list((server.home / "audio" / "voice_samples").glob("*.ogg"))) == 1
    shutil.rmtree(copied)


def test_the_page_follows_though_its_streams_end_late(
    browser: Browser, texts: Texts, server: ServerProcess
) -> None:
    """What is asked for while the word of an ending is under way has its answer with the next request."""
    context = browser.new_context(locale="en")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    context.add_init_script(LATE_ENDINGS)
    page = context.new_page()
    page.goto(server.url)
    tab = open_tab(page, texts, "voices")
    tab.locator(f'[data-card="{VOICE}"] .mini[data-player]').first.wait_for()
    late = server.home / "voice_models" / "late"
    write_voice(late / "late.pth", "Applio", embedder="starter", sample_rate=32000)
    tab.locator('[data-card="late"]').first.wait_for()
    assert page.evaluate("endings") > 1
    context.close()
    shutil.rmtree(late)


def test_a_voice_that_is_gone_is_said_to_be_gone(page: Page, texts: Texts, server: ServerProcess) -> None:
    """It was chosen, and was deleted elsewhere: no other takes its place."""
    folder = server.home / "voice_models" / "fleeting"
    write_voice(folder / "fleeting.pth", "Applio", embedder="starter", sample_rate=32000)
    tab = open_tab(page, texts, "cover")
    choose_voice(tab, texts, "fleeting")
    shutil.rmtree(folder)
    tab.get_by_text(texts("error.voice_gone", name="fleeting")).locator("visible=true").first.wait_for()
    chosen = tab.get_by_role("combobox", name=texts("cover.voice.label"), exact=True).locator("visible=true")
    assert chosen.input_value() == ""
    choose_demo(tab, texts)
    press(tab, texts("cover.generate"))
    tab.get_by_text(texts("error.no_voice")).locator("visible=true").first.wait_for()


def test_the_pitch_is_one_number_with_octaves_and_a_suggestion(page: Page, texts: Texts) -> None:
    tab = open_tab(page, texts, "cover").locator("#way-at-once")
    number = tab.locator(".setting-any-n_semitones input, [class*=n_semitones] input").first
    press(tab, texts("pitch.higher"))
    wait_until(page, lambda: number.input_value() == "12")
    press(tab, texts("pitch.suggest"))
    tab.get_by_text(texts("error.nothing_to_listen_to")).wait_for()
    choose_demo(tab, texts)
    press(tab, texts("pitch.suggest"))
    # The first voice of the list, starter-anna, sings lower than the demo.
    wait_until(page, lambda: number.input_value() == "-12")


def test_what_is_ours_of_the_page_is_light() -> None:
    assert len((head() + page_scripts()).encode()) + STYLE.stat().st_size <= 60_000

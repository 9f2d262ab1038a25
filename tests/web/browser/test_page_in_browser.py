"""The page in a real browser, as a newcomer uses it: every test begins on a page just opened."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gradio_client import Client, handle_file

from ultimate_rvc.assets.registry import asset
from ultimate_rvc.audio.decode import probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.choices import Quality
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.separation.models import SEPARATION_MODELS
from ultimate_rvc.separation.qualities import PLANS
from ultimate_rvc.switches import SWITCHES
from ultimate_rvc.web.display import clock, megabytes
from ultimate_rvc.web.texts import Texts, load_texts
from web.server_process import PATIENCE_SECONDS, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

VOICE = "starter"
OTHER_LANGUAGE = "zh-TW"
LONG_SECONDS = 600  # of a song that is still at work when the next thing is done
# Two seconds; tests beside this one take their share of the machine.
CANCEL_SECONDS = 2.0 * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
LOOK_EVERY_MS = 200
CANCEL_ATTEMPTS = 3  # a machine that stands still for a moment says nothing about the page

# Every value that a progress bar of the visible panel had since the page was opened.
WATCH_PROGRESS = """
window.progressSeen = [];
setInterval(() => {
  for (const bar of document.querySelectorAll('.job.running [role=progressbar]')) {
    const now = Number(bar.getAttribute('aria-valuenow'));
    if (bar.checkVisibility() && now !== progressSeen.at(-1)) progressSeen.push(now);
  }
}, 50);
"""


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone with noise: whatever its sound, it takes long."""
    path = tmp_path_factory.mktemp("songs") / "long.wav"
    time_s = np.arange(LONG_SECONDS * 22050) / 22050
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time_s))
    encode(path, (tone + noise).astype(np.float32)[None], 22050)
    return path


@pytest.fixture
def client(server: ServerProcess) -> Client:
    return server.client()


def open_tab(page: Page, texts: Texts, name: str) -> Locator:
    """The part of the page that belongs to a tab, once it is shown."""
    page.locator("#rail").get_by_role("tab", name=texts(f"tab.{name}"), exact=True).click()
    return page.locator(f"#tab-{name}")


def press(where: Page | Locator, label: str) -> None:
    where.get_by_role("button", name=label, exact=True).locator("visible=true").click()


def unfold(tab: Locator, label: str) -> None:
    # An accordion's name is its label and an arrow.
    tab.get_by_role("button", name=label).locator("visible=true").click()


def text_box(tab: Locator, label: str) -> Locator:
    """Its name for the screen reader is label and sentence in one, so the label alone is looked for."""
    box = tab.locator("label", has=tab.page.get_by_text(label, exact=True)).locator("input, textarea")
    return box.locator("visible=true")


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait for what is asked anew each time: Gradio puts new elements into the place of old ones."""
    for _ in range(round(PATIENCE_SECONDS * 1000 / LOOK_EVERY_MS)):
        if holds():
            return
        page.wait_for_timeout(LOOK_EVERY_MS)
    raise AssertionError(f"it does not hold after {PATIENCE_SECONDS} s")


def seconds_of(player: Locator) -> float:
    """How long a player's sound is; not a number before it is loaded."""
    return float(player.evaluate("(audio) => audio.duration"))


def choose_voice(tab: Locator, texts: Texts, name: str) -> None:
    """Type it until it stands: a list that is filled anew between two keys forgets what was typed."""
    chosen = tab.get_by_role("combobox", name=texts("cover.voice.label"), exact=True).locator("visible=true")

    def typed() -> bool:
        chosen.fill(name)
        chosen.press("Enter")
        tab.page.wait_for_timeout(LOOK_EVERY_MS)
        return chosen.input_value() == name

    wait_until(tab.page, typed)


def start_conversion(page: Page, texts: Texts, song: Path, name: str = VOICE) -> Locator:
    """Drop a file under Convert voice and press Convert; returns the tab."""
    tab = open_tab(page, texts, "convert")
    tab.locator("input[type=file]").first.set_input_files(song)
    tab.get_by_text(song.name).first.wait_for()
    choose_voice(tab, texts, name)
    press(tab, texts("convert.go"))
    return tab


def state_of(tab: Locator, state: str) -> Locator:
    """The panel's status once its job is in a state."""
    return tab.locator(f".job.{state}").locator("visible=true").first


def test_a_voice_is_imported_by_upload(page: Page, texts: Texts, voice_file: Path, client: Client) -> None:
    tab = open_tab(page, texts, "voices")
    tab.locator("input[type=file]").first.set_input_files(voice_file)
    # Gradio shows a name and its suffix apart.
    tab.get_by_text(voice_file.stem, exact=True).first.wait_for()
    press(tab, texts("voices.import.go"))
    card = tab.locator(f'button[data-voice="{voice_file.stem}"]')
    card.wait_for()
    card.click()
    tab.get_by_text("32000 Hz").wait_for()
    assert client.predict(voice_file.stem, api_name="/voice")["embedder"] == "starter"


def test_a_newcomer_makes_a_cover_in_three_clicks(page: Page, texts: Texts) -> None:
    """The demo song, a voice, Generate: progress moves, and the cover can be played."""
    page.add_init_script(WATCH_PROGRESS)
    page.reload()
    tab = open_tab(page, texts, "cover")
    press(tab, texts("cover.demo"))
    link = text_box(tab, texts("cover.link.label"))
    wait_until(page, lambda: link.input_value() == "demo")
    choose_voice(tab, texts, VOICE)
    press(tab, texts("cover.generate"))
    state_of(tab, "running").wait_for()
    state_of(tab, "done").wait_for()
    seen = page.evaluate("progressSeen")
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)
    player = tab.locator("#cover-result audio").last  # the first stays empty: it is for when scripts fail
    player.wait_for(state="attached")
    wait_until(page, lambda: seconds_of(player) > 1)
    expected = probe(packaged_assets_dir() / "demo.ogg").duration_seconds
    assert player.evaluate("(audio) => audio.duration") == pytest.approx(expected, abs=0.1)
    assert tab.locator(".stages .stage-bar div").count() >= 3
    assert "cpu" in tab.locator(".facts").first.inner_text()


def test_a_text_is_spoken_by_a_voice(page: Page, texts: Texts) -> None:
    """A text, a voice, Speak; without a text one sentence says so."""
    tab = open_tab(page, texts, "speech")
    press(tab, texts("speech.go"))
    page.get_by_text(texts("error.no_text")).first.wait_for()
    text_box(tab, texts("speech.text.label")).fill("Good morning. This is a short test.")
    choose_voice(tab, texts, VOICE)
    press(tab, texts("speech.go"))
    state_of(tab, "done").wait_for()
    player = tab.locator("audio").last
    player.wait_for(state="attached")
    wait_until(page, lambda: seconds_of(player) > 1)


LONG_TEXT = "The old gate was painted green last summer, and nobody knew why. " * 12
NOTE_WHAT_IS_HEARD = """() => {
    window.heardSeconds = [];
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
        window.heardSeconds.push(this.duration);
        this.playbackRate = 8;
        return play.call(this);
    };
}"""


def test_a_speech_is_heard_while_it_is_made(page: Page, texts: Texts) -> None:
    """It plays by itself, each part once, from wherever it was made by then; afterwards its pace is shown."""
    page.evaluate(NOTE_WHAT_IS_HEARD)
    tab = open_tab(page, texts, "speech")
    text_box(tab, texts("speech.text.label")).fill(LONG_TEXT)
    choose_voice(tab, texts, VOICE)
    press(tab, texts("speech.go"))
    page.wait_for_function("heardSeconds.length > 0")
    state_of(tab, "done").wait_for()
    tab.get_by_text("real-time factor").wait_for()
    player = tab.locator("audio").last
    wait_until(page, lambda: seconds_of(player) > 30)
    page.wait_for_function(
        "(seconds) => Math.abs(heardSeconds.reduce((sum, part) => sum + part, 0) - seconds) < 0.5",
        arg=seconds_of(player),
    )


def test_a_job_is_still_shown_after_a_reload_and_cancelled_within_two_seconds(
    page: Page, texts: Texts, long_song: Path, client: Client
) -> None:
    """Two seconds beyond what a request that does nothing takes: the machine may be busy, or stand still."""
    took = []
    for _ in range(CANCEL_ATTEMPTS):
        tab = start_conversion(page, texts, long_song)
        state_of(tab, "running").wait_for()
        page.reload()
        tab = open_tab(page, texts, "convert")
        running = state_of(tab, "running")
        running.wait_for()
        assert long_song.name in running.inner_text()
        began = time.time()
        (job,) = client.predict("", 1, api_name="/jobs")
        idle_request = time.time() - began
        clicked = time.time()
        press(tab, texts("job.cancel"))
        state_of(tab, "cancelled").wait_for()
        job = client.predict(job["id"], api_name="/job")
        assert job["state"] == "cancelled"
        took.append(job["finished"] - clicked - idle_request)
        if took[-1] < CANCEL_SECONDS:
            return
    raise AssertionError(f"cancelling took {took} s")


def test_a_job_that_waits_is_cancelled_while_another_goes_on(
    page: Page, texts: Texts, long_song: Path, client: Client
) -> None:
    first = client.predict([handle_file(long_song)], VOICE, {}, "wav", {}, "", api_name="/convert")
    tab = start_conversion(page, texts, long_song)
    state_of(tab, "queued").wait_for()
    press(tab, texts("job.cancel"))
    state_of(tab, "cancelled").wait_for()
    assert client.predict(first["id"], api_name="/job")["state"] == "running"
    client.predict(first["id"], api_name="/cancel_job")


def test_a_text_file_that_is_called_a_voice_is_told_in_one_sentence(
    page: Page, texts: Texts, tmp_path: Path
) -> None:
    text = tmp_path / "renamed.pth"
    text.write_text("no voice")
    tab = open_tab(page, texts, "voices")
    tab.locator("input[type=file]").first.set_input_files(text)
    tab.get_by_text(text.name).first.wait_for()
    press(tab, texts("voices.import.go"))
    state_of(tab, "failed").wait_for()
    (told,) = tab.locator(".job.failed .error").locator("visible=true").all_inner_texts()
    assert "renamed.pth" in told
    assert "\n" not in told
    assert "Traceback" not in tab.inner_text()


def test_what_is_missing_is_told_below_the_button(page: Page, texts: Texts) -> None:
    tab = open_tab(page, texts, "cover")
    press(tab, texts("cover.generate"))
    problem = tab.get_by_role("alert").locator("visible=true").first
    problem.wait_for()
    assert problem.inner_text() == texts("error.no_song")


def test_the_language_is_changed_and_stays(page: Page, server: ServerProcess) -> None:
    other = load_texts(OTHER_LANGUAGE)
    page.locator(f'header a[data-language="{OTHER_LANGUAGE}"]').click()
    page.wait_for_url(f"**/{OTHER_LANGUAGE}*")
    page.get_by_role("tab", name=other("tab.cover"), exact=True).wait_for()
    page.goto(server.url)
    page.wait_for_url(f"**/{OTHER_LANGUAGE}*")
    page.get_by_role("tab", name=other("tab.settings"), exact=True).wait_for()
    page.locator('header a[data-language="en"]').click()
    page.get_by_role("tab", name=load_texts("en")("tab.cover"), exact=True).wait_for()


def test_a_settings_file_is_saved_and_loaded(page: Page, texts: Texts, server: ServerProcess) -> None:
    tab = open_tab(page, texts, "settings")
    label, _ = texts.setting(SWITCHES["skip_silence"])
    switch = tab.locator("fieldset", has=page.get_by_text(label, exact=True))
    on, usual = (
        switch.get_by_role("radio", name=texts(f"switch.{word}"), exact=True) for word in ("on", "usual")
    )
    on.check()
    unfold(tab, texts("files.title"))
    text_box(tab, texts("files.name.label")).fill("evening")
    press(tab, texts("files.save"))
    page.get_by_text(texts("files.saved", name="evening")).first.wait_for()
    written = (server.home / "configs" / "evening.yaml").read_text(encoding="utf-8")
    assert "skip_silence: true" in written
    press(tab, texts("files.reset"))
    wait_until(page, usual.is_checked)
    press(tab, texts("files.load"))
    wait_until(page, on.is_checked)
    page.reload()
    tab = open_tab(page, texts, "settings")
    wait_until(page, on.is_checked)


def test_all_of_the_rail_is_reached_with_the_keyboard(page: Page, texts: Texts) -> None:
    tabs = page.locator("#rail").get_by_role("tab")
    tabs.first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#tab-convert").get_by_text(texts("convert.lead")).wait_for()


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page: Page, texts: Texts, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for name in ("cover", "convert", "voices", "train", "jobs", "settings"):
        open_tab(page, texts, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_quality_is_chosen_beside_generate_with_its_time_and_what_it_needs(
    page: Page, texts: Texts, client: Client
) -> None:
    tab = open_tab(page, texts, "cover")
    choices = tab.get_by_role("radio").locator("visible=true")
    assert [choice.get_attribute("value") for choice in choices.all()] == [*Quality]
    line, footer = tab.locator(".estimate"), tab.locator(".footer").locator("visible=true")
    line.get_by_text("(auto): about ").wait_for()
    assert texts("estimate.no_song", time="3:00") in line.inner_text()
    press(tab, texts("cover.demo"))
    seconds = probe(packaged_assets_dir() / "demo.ogg").duration_seconds
    line.get_by_text(texts("estimate.song", time=clock(seconds))).wait_for()
    choose_voice(tab, texts, VOICE)
    tab.get_by_role("radio", name=texts("choice.quality.best"), exact=True).check()
    line.get_by_text(texts("estimate.chosen", quality="best", time="about")).wait_for()
    footer.get_by_text("clean vocals (vocals, 320 MB)").wait_for()
    size = sum(SEPARATION_MODELS[name].bytes for name in PLANS[Quality.BEST].models.values())
    size += asset("rmvpe").bytes
    footer.get_by_role("button", name=texts("missing.fetch", size=megabytes(size)), exact=True).wait_for()
    press(tab, texts("cover.generate"))
    tab.locator(".job-head").locator("visible=true").first.wait_for()
    (job,) = client.predict("", 1, api_name="/jobs")
    client.predict(job["id"], api_name="/cancel_job")
    assert job["settings"]["cover"]["quality"] == "best"


def test_a_song_that_is_none_is_told_before_generate(page: Page, texts: Texts, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("no song")
    tab = open_tab(page, texts, "cover")
    tab.locator(".estimate b").wait_for()
    tab.locator("input[type=file]").first.set_input_files(text)
    problem = tab.locator(".estimate-line .problem")
    problem.wait_for()
    assert problem.inner_text().startswith('The file "notes.wav" ')
    assert page.locator(".toast-body").count() == 0

"""The page in a real browser, as a newcomer uses it: every test begins on a page just opened."""

from __future__ import annotations

import zipfile
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

VOICE = "starter-anna"  # typed and taken with Enter, it must be the only name that begins so
OTHER_LANGUAGE = "zh-TW"
LONG_SECONDS = 600  # of a song that is still at work when the next thing is done
FIELD_PATIENCE_MS = 20_000  # after which a file is dropped again
LOOK_EVERY_MS = 200

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

# ``ONCE_MS`` of ``page.js`` after the last click.
ONCE_COUNTS_AGAIN = """async (button) => {
  while (performance.now() - button.pressed < 1000) await new Promise((go) => setTimeout(go, 50));
}"""


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone with noise: whatever its sound, it takes long."""
    path = tmp_path_factory.mktemp("songs") / "long.wav"
    time_s = np.arange(LONG_SECONDS * 22050) / 22050
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time_s))
    encode(path, (tone + noise).astype(np.float32)[None], 22050)
    return path


def open_tab(page: Page, texts: Texts, name: str) -> Locator:
    """The part of the page that belongs to a tab, once it is shown."""
    page.locator("#rail").get_by_role("tab", name=texts(f"tab.{name}"), exact=True).click()
    return page.locator(f"#tab-{name}")


def press(where: Page | Locator, label: str) -> None:
    """At a person's pace: the page takes a second click within a second (``page.js``) for impatience."""
    button = where.get_by_role("button", name=label, exact=True).locator("visible=true")
    button.evaluate(ONCE_COUNTS_AGAIN)
    button.click()


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


def give_file(tab: Locator, path: Path, shown: Locator) -> None:
    """Drop a file until it is ``shown``: a field that is put in the place of another forgets what it was given."""
    from playwright.sync_api import TimeoutError as NotShown

    def given() -> bool:
        tab.locator("input[type=file]").first.set_input_files(path)
        try:
            shown.wait_for(timeout=FIELD_PATIENCE_MS)
        except NotShown:
            return False
        return True

    wait_until(tab.page, given)


def start_conversion(page: Page, texts: Texts, song: Path, name: str = VOICE) -> Locator:
    """Drop a file under Convert voice and press Convert; returns the tab."""
    tab = open_tab(page, texts, "convert")
    give_file(tab, song, tab.get_by_text(song.name).first)
    choose_voice(tab, texts, name)
    press(tab, texts("convert.go"))
    return tab


def state_of(tab: Locator, state: str) -> Locator:
    """The panel's status once its job is in a state."""
    return tab.locator(f".job.{state}").locator("visible=true").first


def test_a_voice_is_imported_by_upload(page: Page, texts: Texts, voice_file: Path, client: Client) -> None:
    """It is chosen then, and sings at a click."""
    tab = open_tab(page, texts, "voices")
    unfold(tab, texts("voices.import.title"))
    # Gradio shows a name and its suffix apart.
    give_file(tab, voice_file, tab.get_by_text(voice_file.stem, exact=True).first)
    press(tab, texts("voices.import.go"))
    tab.locator(f'button[data-voice="{voice_file.stem}"]').first.wait_for()
    unfold(tab, texts("details.title"))
    tab.get_by_text("32000 Hz").wait_for()
    tab.locator(f'[data-card="{voice_file.stem}"] [data-do="cover"]').first.click()
    page.wait_for_url("**/#cover")
    voice = page.locator("#tab-cover").get_by_role("combobox", name=texts("cover.voice.label"), exact=True)
    wait_until(page, lambda: voice.first.input_value() == voice_file.stem)
    assert client.predict(voice_file.stem, api_name="/voice")["embedder"] == "starter"


def choose_demo(tab: Locator, texts: Texts) -> None:
    press(tab, texts("cover.demo"))
    tab.get_by_text("demo", exact=True).first.wait_for()


def test_a_newcomer_makes_a_cover_in_three_clicks(page: Page, texts: Texts, client: Client) -> None:
    """The demo song, a voice, Generate: progress moves, and the cover is heard beside the song, and its stems."""
    page.add_init_script(WATCH_PROGRESS)
    page.reload()
    tab = open_tab(page, texts, "cover")
    choose_demo(tab, texts)
    choose_voice(tab, texts, VOICE)
    generate = tab.get_by_role("button", name=texts("cover.generate"), exact=True)
    generate.dblclick()
    state_of(tab, "running").wait_for()
    assert (
        tab.get_by_role("button", name=texts("job.cancel"), exact=True).locator("visible=true").is_visible()
    )
    state_of(tab, "done").wait_for()
    covers = [job for job in client.predict("", 10, api_name="/jobs") if job["kind"] == "cover"]
    assert len(covers) == 1  # of two clicks one counts
    seen = page.evaluate("progressSeen")
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)
    _check_player(page, texts)
    _check_mixer(page, tab, texts)
    # What few want to know is folded.
    assert tab.locator(".facts").locator("visible=true").count() == 0
    unfold(tab, texts("job.more"))
    tab.locator(".facts").get_by_text("cpu").first.wait_for()
    assert tab.locator(".stages .stage-bar div").count() >= 3


def _check_player(page: Page, texts: Texts) -> None:
    player = page.locator("#cover-result .player")
    cover, song = player.locator("audio").all()
    wait_until(page, lambda: seconds_of(cover) > 1)
    expected = probe(packaged_assets_dir() / "demo.ogg").duration_seconds
    assert seconds_of(cover) == pytest.approx(expected, abs=0.1)
    wave = player.get_by_role("slider")
    wave.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert wave.get_attribute("aria-valuenow") == "10"
    page.keyboard.press("Space")
    wait_until(page, lambda: bool(cover.evaluate("(audio) => !audio.paused && audio.currentTime > 10")))
    player.get_by_role("button", name=texts("player.original"), exact=True).click()
    wait_until(page, lambda: bool(song.evaluate("(audio) => !audio.paused && audio.currentTime > 10")))
    wait_until(page, lambda: bool(cover.evaluate("(audio) => audio.paused")))
    with page.expect_download() as download:
        player.get_by_text(texts("player.download"), exact=True).click()
    assert download.value.suggested_filename.startswith("song")  # what is heard is what is fetched
    player.get_by_role("button", name=texts("player.pause")).click()
    wait_until(page, lambda: bool(song.evaluate("(audio) => audio.paused")))


# Every source that is started: when, from where on its line, and how long it is.
NOTE_SOURCES = """() => {
    window.started = [];
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (when, offset) {
        const peak = this.buffer.getChannelData(0).reduce((most, each) => Math.max(most, each));
        started.push({ when, seconds: this.buffer.duration, peak });
        return start.call(this, when, offset);
    };
}"""


def _check_mixer(page: Page, tab: Locator, texts: Texts) -> None:
    """Every stem has its portions without gaps on one time line; mute, solo and the zip."""
    page.evaluate(NOTE_SOURCES)
    unfold(tab, texts("cover.stems.label"))
    mixer = tab.locator("urvc-mixer")
    rows = mixer.locator("li")
    rows.nth(3).wait_for()  # there are four at least
    count = rows.count()
    mixer.get_by_role("button", name=texts("player.play"), exact=True).click()
    page.wait_for_function("(count) => started.length >= 2 * count", arg=count)
    starts = page.evaluate("started")
    lines = sorted({round(each["when"], 3) for each in starts})
    first = [each for each in starts if round(each["when"], 3) == lines[0]]
    assert len(first) == count
    assert lines[1] - lines[0] == pytest.approx(first[0]["seconds"], abs=1e-3)
    assert all(each["peak"] > 0 for each in starts)
    assert 1 <= mixer.locator("li[data-heard]").count() < count
    rows.first.get_by_role("button", name=texts("player.solo")).click()
    assert mixer.locator("li[data-heard]").count() == 1
    mixer.get_by_role("button", name=texts("player.pause"), exact=True).click()
    press(tab, texts("cover.stems.zip"))
    link = tab.locator('a[href*="stems.zip"]').first
    link.wait_for()
    with page.expect_download() as download:
        link.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == count
        assert archive.testzip() is None


def test_a_text_is_spoken_by_a_voice(page: Page, texts: Texts) -> None:
    """A text, a voice, Speak; without a text one sentence says so."""
    tab = open_tab(page, texts, "speech")
    press(tab, texts("speech.go"))
    page.get_by_text(texts("error.no_text")).first.wait_for()
    text_box(tab, texts("speech.text.label")).fill("Good morning. This is a short test.")
    choose_voice(tab, texts, VOICE)
    press(tab, texts("speech.go"))
    state_of(tab, "done").wait_for()
    player = tab.locator(".player audio")
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
    player = tab.locator(".player audio")
    wait_until(page, lambda: seconds_of(player) > 30)
    page.wait_for_function(
        "(seconds) => Math.abs(heardSeconds.reduce((sum, part) => sum + part, 0) - seconds) < 0.5",
        arg=seconds_of(player),
    )


def test_a_job_is_still_shown_after_a_reload_and_cancelled_there(
    page: Page, texts: Texts, long_song: Path, client: Client
) -> None:
    tab = start_conversion(page, texts, long_song)
    state_of(tab, "running").wait_for()
    page.reload()
    tab = open_tab(page, texts, "convert")
    running = state_of(tab, "running")
    running.wait_for()
    assert long_song.name in running.inner_text()
    (job,) = client.predict("", 1, api_name="/jobs")
    press(tab, texts("job.cancel"))
    state_of(tab, "cancelled").wait_for()
    job = client.predict(job["id"], api_name="/job")
    assert (job["state"], job["result"]) == ("cancelled", None)


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
    unfold(tab, texts("voices.import.title"))
    give_file(tab, text, tab.get_by_text(text.name).first)
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
    unfold(tab, texts("settings.computed"))
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
    unfold(tab, texts("settings.computed"))
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
    choose_demo(tab, texts)
    seconds = probe(packaged_assets_dir() / "demo.ogg").duration_seconds
    line.get_by_text(texts("estimate.song", time=clock(seconds))).wait_for()
    choose_voice(tab, texts, VOICE)
    tab.get_by_role("radio", name=texts("choice.quality.best"), exact=True).check()
    line.get_by_text(texts("estimate.chosen", quality="best", time="about")).wait_for()
    footer.get_by_text("clean vocals (vocals, 320 MB)").wait_for(state="attached")  # folded
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
    problem = tab.locator(".estimate-line .problem")
    give_file(tab, text, problem)
    assert problem.inner_text().startswith('The file "notes.wav" ')
    assert page.locator(".toast-body").count() == 0

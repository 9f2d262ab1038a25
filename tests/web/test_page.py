"""The page as a server: it answers in every language, and refuses what is not from itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.context import Context

from ultimate_rvc.web.page import Languages
from ultimate_rvc.web.server import ServerOptions, offered_api
from ultimate_rvc.web.tabs import TABS
from ultimate_rvc.web.texts import load_texts
from ultimate_rvc.web.theme import STYLE
from web.running import Running

pytestmark = pytest.mark.usefixtures("folders_of_the_server")


@pytest.mark.parametrize(
    ("path", "word"), [("", "Song cover"), ("zh-TW", "翻唱歌曲"), ("zh-CN", "翻唱歌曲"), ("ja", "歌のカバー")]
)
def test_each_language_has_a_page_of_its_own(running: Running, path: str, word: str) -> None:
    answer = httpx.get(running.url + path, timeout=60)
    assert answer.status_code == 200
    assert word in answer.text or json.dumps(word)[1:-1] in answer.text


def test_every_tab_has_its_icon() -> None:
    style = STYLE.read_text(encoding="utf-8")
    assert [name for name in TABS if f"#tab-{name}-button {{ --icon: url(" not in style] == []


def test_the_api_answers_on_the_port_of_the_page(running: Running) -> None:
    voices = httpx.get(f"{running.url}v1/voices", timeout=60)
    assert "starter" in [voice["name"] for voice in voices.json()["voices"]]  # others may have imported some
    assert httpx.get(f"{running.url}healthz", timeout=60).json()["status"] == "ok"
    foreign = httpx.get(f"{running.url}v1/voices", headers={"origin": "https://evil.example"}, timeout=60)
    assert foreign.status_code == 403


def test_others_get_the_api_with_a_key_only(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ServerOptions(host="0.0.0.0")
    with offered_api(options, running.queue) as api:
        assert api is None
    monkeypatch.setenv("URVC_API_KEY", "a long enough secret")
    with offered_api(options, running.queue) as api:
        assert api is not None


def test_the_words_of_drop_zones_are_letters_that_style_sheets_know(running: Running) -> None:
    (layout,) = httpx.get(f"{running.url}zh-TW", timeout=60).text.split("window.gradio_config = ")[1:]
    config, _ = json.JSONDecoder().raw_decode(layout)
    (header,) = [value for value in map(_html_of, config["components"]) if "--drop-words" in value]
    assert f'--drop-words: "{load_texts("zh-TW")("drop")}";' in header


def _html_of(component: dict[str, Any]) -> str:
    value = component["props"].get("value")
    return value if component["type"] == "html" and isinstance(value, str) else ""


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "elsewhere.example"},
    ],
)
def test_requests_of_another_site_are_refused(running: Running, headers: dict[str, str]) -> None:
    answer = httpx.post(running.url + "gradio_api/queue/join", json={}, headers=headers, timeout=60)
    assert answer.status_code == 403


def test_a_link_from_another_site_opens_the_page(running: Running) -> None:
    assert httpx.get(running.url, headers={"Sec-Fetch-Site": "cross-site"}, timeout=60).status_code == 200


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd"])
def test_files_outside_the_output_folders_are_not_served(running: Running, path: str) -> None:
    answer = httpx.get(f"{running.url}gradio_api/file={path}", timeout=60)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_a_result_is_served(running: Running) -> None:
    result = running.output / "cover.txt"
    result.write_text("made here")
    answer = httpx.get(f"{running.url}gradio_api/file={result}", timeout=60)
    assert (answer.status_code, answer.text) == (200, "made here")


def test_the_list_of_jobs_is_not_served(running: Running) -> None:
    database = Path(running.queue.folder) / "jobs.sqlite3"
    assert database.is_file()
    assert httpx.get(f"{running.url}gradio_api/file={database}", timeout=60).status_code in (403, 404)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


LAID_OUT = """
import sys
from ultimate_rvc.web.server import prepare_environment
prepare_environment()
from ultimate_rvc.web.desk import Server
from ultimate_rvc.web.page import build_page
from ultimate_rvc.web.server import ServerOptions, launch_options
build_page(Server(None))
launch_options(ServerOptions(), None)
heavy = {"torch", "transformers", "faiss", "matplotlib", "librosa", "numba", "scipy.signal"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_the_page_is_laid_out_without_the_libraries_that_only_work_needs() -> None:
    """Each of them would take a second or more from the time to the first page."""
    answer = subprocess.run([sys.executable, "-c", LAID_OUT], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout.split()) == (0, []), answer.stderr


def test_pages_made_ready_once_are_those_that_gradio_makes_ready_after_each() -> None:
    """Our way around its work must stay the same thing, whatever version of Gradio there is."""

    def laid_out(kind: type[gr.Blocks]) -> dict[str, Any]:
        Context.id = 0
        page = kind()
        for place in ("", "/second", "/third"):
            with page if not place else page.route(place[1:], place):
                page.is_complete = place == "/third"  # type: ignore[attr-defined]
                box = gr.Textbox(lambda: "at load", label=place)
                with gr.Row():
                    gr.Number(label="in a form")
                gr.Button("press").click(lambda text: text, box, box)
        config = dict(page.config)
        config.pop("app_id")
        return config

    assert laid_out(Languages) == laid_out(gr.Blocks)

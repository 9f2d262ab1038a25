"""The HTTP API through its own client: as a program on another machine would use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ultimate_rvc.audio.decode import decode, probe
from ultimate_rvc.audio.encode import encode
from voice_factory import write_voice
from web.running import Running

pytestmark = pytest.mark.usefixtures("folders_of_the_server")

SONG = Path(__file__).parent.parent / "data" / "songs" / "real_song.ogg"
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def client(running: Running) -> Client:
    return Client(running.url, verbose=False)


@pytest.fixture(scope="module")
def short_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, sample_rate = decode(SONG)
    path = tmp_path_factory.mktemp("songs") / "short.wav"
    encode(path, samples[:, : 2 * sample_rate], sample_rate)
    return path


@pytest.fixture(scope="module")
def other_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, sample_rate = decode(SONG)
    path = tmp_path_factory.mktemp("songs") / "other.wav"
    encode(path, samples[:, sample_rate : 2 * sample_rate], sample_rate)
    return path


@pytest.fixture(scope="module")
def voice(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("voice") / "uploaded.pth"
    write_voice(path, "Applio", embedder="starter", sample_rate=32000)
    job = client.predict([handle_file(path)], "", "", "me", api_name="/import_voice")
    done = wait(client, job["id"])
    assert done["state"] == "done", done["error"]
    return str(done["result"]["facts"]["voice"])


def wait(client: Client, job_id: int) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.predict(job_id, PATIENCE_SECONDS, "me", api_name="/wait_for_job")
        if job["state"] not in ("queued", "running"):
            return job


def test_a_song_becomes_a_cover(client: Client, voice: str, short_song: Path) -> None:
    settings = {"conversion": {"n_semitones": 2}, "output_format": "flac"}
    job = client.predict(handle_file(short_song), "", voice, settings, {}, "me", api_name="/cover")
    done = wait(client, job["id"])
    assert done["state"] == "done", done["error"]
    assert done["result"]["facts"]["shift_semitones"] == 2
    (cover,) = client.predict(job["id"], "me", api_name="/job_files")
    assert probe(Path(cover)).duration_seconds == pytest.approx(2, abs=0.05)


def test_how_long_a_cover_takes_is_known_before(client: Client, short_song: Path) -> None:
    """Of a machine that is as slow as where costs are measured."""
    settings = {"quality": "best", "stems": {"remove_reverb": "off"}}
    found = client.predict(handle_file(short_song), "", None, settings, {}, api_name="/cover_estimate")
    assert (found["quality"], found["models"]) == ("best", {"vocals": "vocals", "lead": "karaoke"})
    assert found["song_seconds"] == pytest.approx(2, abs=0.01)
    assert found["missing_bytes"] == 319_821_424 + 456_715_871
    assert found["sentence"].startswith("Quality best: about ")
    seconds = [
        client.predict(None, link, 240, {"stems": {"vocals_model": "dsp"}}, {}, api_name="/cover_estimate")
        for link in ("", "https://elsewhere.example/song")
    ]
    assert seconds[0] == seconds[1]
    assert seconds[0]["seconds"]["fast"] < seconds[0]["seconds"]["best"]
    assert client.predict(None, "demo", None, {}, {}, api_name="/cover_estimate")["song_seconds"] > 1


def test_files_are_converted_with_the_preset_of_their_voice(
    client: Client, voice: str, short_song: Path, other_song: Path
) -> None:
    changed = client.predict(voice, "mine", ["alto"], {"n_semitones": 5}, api_name="/change_voice")
    assert (changed["note"], changed["tags"]) == ("mine", ["alto"])
    files = [handle_file(short_song), handle_file(other_song)]
    job = client.predict(files, voice, {}, "wav", {}, "me", api_name="/convert")
    done = wait(client, job["id"])
    assert done["state"] == "done", done["error"]
    assert done["result"]["facts"]["shifts_semitones"] == [5, 5]
    # Programs elsewhere learn names, not where things lie on the server.
    assert [(each["source"], each["output"]) for each in done["result"]["facts"]["converted"]] == [
        (f"{name}.wav", f"{name} ({voice}).wav") for name in ("short", "other")
    ]
    assert len(client.predict(job["id"], "me", api_name="/job_files")) == 2
    again = client.predict(job["id"], {"conversion": {"n_semitones": 0}}, "me", api_name="/rerun_job")
    assert wait(client, again["id"])["result"]["facts"]["shifts_semitones"] == [0, 0]


def test_the_format_of_a_conversion_may_be_left_to_the_program(
    client: Client, voice: str, other_song: Path
) -> None:
    job = client.predict([handle_file(other_song)], voice, {}, "", {}, "me", api_name="/convert")
    (file,) = wait(client, job["id"])["result"]["files"]
    assert Path(file["name"]).suffix == ".wav"


def test_any_kind_of_job_is_queued_with_what_its_schema_says(client: Client, short_song: Path) -> None:
    schema = client.predict("transpose", api_name="/settings_schema")
    assert schema["required"] == ["source", "semitones"]
    settings = {"source": str(short_song), "semitones": -2, "output_format": "flac"}
    assert settings.keys() <= schema["properties"].keys()
    done = wait(client, client.predict("transpose", settings, "me", api_name="/submit_job")["id"])
    assert done["state"] == "done", done["error"]
    (made,) = client.predict(done["id"], "me", api_name="/job_files")
    assert Path(made).suffix == ".flac"
    assert probe(Path(made)).duration_seconds == pytest.approx(2, abs=0.01)


def test_a_voice_is_exported_renamed_deleted_and_restored(client: Client, voice: str) -> None:
    archive = client.predict(voice, api_name="/export_voice")
    assert Path(archive).suffix == ".zip"
    assert client.predict(voice, "renamed", api_name="/rename_voice") == "renamed"
    deletion = client.predict("renamed", api_name="/delete_voice")
    assert "renamed" not in [card["name"] for card in client.predict("", api_name="/voices")]
    assert client.predict(deletion, voice, api_name="/restore_voice") == voice
    assert client.predict(voice, api_name="/voice")["sample_rate"] == 32000


@pytest.fixture
def long_song(short_song: Path, tmp_path: Path) -> Path:
    """Long enough that no cover of it is done before it can be cancelled."""
    samples, sample_rate = decode(short_song)
    path = tmp_path / "long.wav"
    encode(path, np.tile(samples, 150), sample_rate)
    return path


def test_a_waiting_job_is_cancelled_and_cleared(client: Client, long_song: Path) -> None:
    ids = [
        client.predict(handle_file(long_song), "", "starter", {}, {}, "me", api_name="/cover")["id"]
        for _ in range(2)
    ]
    for job_id in reversed(ids):
        client.predict(job_id, "me", api_name="/cancel_job")
    assert {wait(client, job_id)["state"] for job_id in ids} == {"cancelled"}
    assert set(ids) <= set(client.predict("me", api_name="/clear_jobs"))
    with pytest.raises(AppError, match="There is no job"):
        client.predict(ids[0], "me", api_name="/job")


@pytest.mark.parametrize(
    ("endpoint", "given", "sentence"),
    [
        ("/cover", [None, " ", "starter", {}, {}, ""], "Drop a song"),
        ("/cover", [None, "/etc/passwd", "starter", {}, {}, ""], "A link begins with"),
        ("/cover", [None, "demo", "/etc/passwd", {}, {}, ""], "There is no voice"),
        ("/cover", [None, "demo", "starter", {"conversion": {"index_rate": 7}}, {}, ""], "index_rate is 7"),
        ("/cover", [None, "demo", "starter", {"no_such": 1}, {}, ""], "no_such"),
        ("/cover", [None, "demo", "starter", {}, {"device": "abacus"}, ""], "abacus"),
        ("/cover_estimate", [None, "", None, {}, {}], "Drop a song"),
        ("/cover_estimate", [None, "https://elsewhere.example/a", None, {}, {}], "seconds is missing"),
        ("/cover_estimate", [None, "/etc/passwd", None, {}, {}], "A link begins with"),
        ("/cover_estimate", [None, "demo", 60, {}, {}], "leave it out"),
        ("/cover_estimate", [None, "", -1, {}, {}], "seconds is -1"),
        ("/cover_estimate", [None, "demo", None, {"quality": "superb"}, {}], "superb"),
        ("/cover_estimate", [None, "demo", None, {}, {"device": "abacus"}], "abacus"),
        ("/convert", [[], "starter", {}, "wav", {}, ""], "sources is empty"),
        ("/convert", [[], "starter", [1], "wav", {}, ""], "must be an object"),
        ("/job", [10**9, ""], "There is no job"),
        ("/job", ["one", ""], "must be a whole number"),
        ("/submit_job", ["dance", {}, ""], "There is no kind of job 'dance'"),
        ("/submit_job", ["transpose", [1], ""], "must be an object"),
        ("/submit_job", ["transpose", {"source": "/nowhere.wav"}, ""], "semitones is missing"),
        ("/settings_schema", ["dance"], "There is no kind of job 'dance'"),
        ("/voice", ["../../etc"], "There is no voice"),
        ("/restore_voice", ["nothing", ""], "trash"),
        ("/change_voice", ["starter", None, None, {"index_rate": "much"}], "index_rate"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    client: Client, endpoint: str, given: list[Any], sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence) as raised:
        client.predict(*given, api_name=endpoint)
    assert "Traceback" not in str(raised.value)


def test_a_text_file_that_is_called_a_voice_fails_with_one_sentence(client: Client, tmp_path: Path) -> None:
    text = tmp_path / "renamed.pth"
    text.write_text("no voice")
    job = client.predict([handle_file(text)], "", "", "me", api_name="/import_voice")
    done = wait(client, job["id"])
    assert (done["state"], "renamed.pth" in done["error"]) == ("failed", True)


def test_the_endpoints_are_these_and_no_others(client: Client) -> None:
    """A name once given stays: programs rely on it."""
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/cover", "/cover_estimate", "/convert", "/import_voice",
        "/jobs", "/job", "/wait_for_job", "/cancel_job", "/rerun_job", "/clear_jobs", "/job_files",
        "/submit_job", "/settings_schema",
        "/voices", "/voice", "/change_voice", "/rename_voice", "/delete_voice", "/trash", "/restore_voice",
        "/blend_voices", "/export_voice", "/models", "/download_models",
    }  # fmt: skip

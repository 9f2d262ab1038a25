"""The page through its own server and client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ultimate_rvc.audio.decode import decode, probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.web.page import build_page
from voice_factory import write_voice

SONG = Path(__file__).parent.parent / "data" / "songs" / "real_song.ogg"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    page = build_page()
    _, url, _ = page.queue().launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield Client(url, verbose=False)
    page.close()


def test_a_song_and_an_uploaded_voice_become_a_cover(client: Client, tmp_path: Path) -> None:
    voice = write_voice(tmp_path / "uploaded.pth", "Applio", embedder="starter", sample_rate=32000)
    choice = client.predict(handle_file(voice), api_name="/import_voice")
    assert "uploaded" in [name for name, _ in choice["choices"]]
    samples, sample_rate = decode(SONG)
    song = tmp_path / "short.wav"
    encode(song, samples[:, : 2 * sample_rate], sample_rate)
    cover, steps, warnings = client.predict(handle_file(song), "", "uploaded", 0, 0, api_name="/song_cover")
    assert probe(Path(cover)).duration_seconds == pytest.approx(2, abs=0.05)
    assert [row[0] for row in steps["data"]][:2] == ["retrieve", "separate"]
    assert "dsp" in warnings


def test_what_is_wrong_is_one_sentence(client: Client, tmp_path: Path) -> None:
    text = tmp_path / "renamed.pth"
    text.write_text("no voice")
    with pytest.raises(AppError, match=r"renamed\.pth"):
        client.predict(handle_file(text), api_name="/import_voice")
    with pytest.raises(AppError, match="Drop a song"):
        client.predict(None, " ", "demo", 0, 0, api_name="/song_cover")
    with pytest.raises(AppError, match="A link begins with"):
        client.predict(None, str(SONG), "demo", 0, 0, api_name="/song_cover")

"""The examples of docs/api-http.md, run as they stand against a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.encode import encode
from voice_factory import write_voice
from web.running import Running

pytestmark = pytest.mark.usefixtures("folders_of_the_server")

GUIDE = Path(__file__).parents[2] / "docs" / "api-http.md"
SONG = Path(__file__).parents[1] / "data" / "songs" / "real_song.ogg"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_of_the_guide_works(
    running: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    samples, sample_rate = decode(SONG)
    for name in ("song", "take1", "take2"):
        encode(tmp_path / f"{name}.wav", samples[:, :sample_rate], sample_rate)
    write_voice(tmp_path / "singer.pth", "Applio", embedder="starter", sample_rate=32000)
    monkeypatch.chdir(tmp_path)
    examples = EXAMPLE.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(examples) == 5
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example.replace("http://127.0.0.1:7860/", running.url), str(GUIDE), "exec"), names)
    cover, archive = Path(str(names["cover"])), Path(str(names["archive"]))
    assert (cover.suffix, archive.suffix) == (".flac", ".zip")
    said = capsys.readouterr().out
    for word in ("100%", "take1", "take2", "singer", "convert", "Quality best"):
        assert word in said


def test_the_table_names_every_endpoint(running: Running) -> None:
    from gradio_client import Client

    known = Client(running.url, verbose=False).view_api(return_format="dict", print_info=False)
    table = GUIDE.read_text(encoding="utf-8").partition("## All endpoints")[2]
    assert set(re.findall(r"`(/\w+)`", table)) == set(known["named_endpoints"])

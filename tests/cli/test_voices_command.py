"""``urvc voices`` through the command line, with real voice files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assets.misbehaving_server import by_range, loopback
from assets.small_registry import row
from command_line import Urvc, calls
from ultimate_rvc.assets import registry
from ultimate_rvc.paths import voice_models_dir
from voice_factory import write_executing_voice, write_index, write_voice


@pytest.fixture
def urvc(capsys: pytest.CaptureFixture[str]) -> Urvc:
    return calls(capsys, "voices")


@pytest.fixture
def singer(urvc: Urvc, tmp_path: Path) -> str:
    write_index(tmp_path / "source" / "singer.index")
    assert urvc("import", write_voice(tmp_path / "source" / "singer.pth"))[0] == 0
    return "singer"


def json_of(outcome: tuple[int, str, str]) -> Any:
    assert outcome[0] == 0, outcome
    return json.loads(outcome[1])


def test_the_whole_life_of_a_voice(urvc: Urvc, singer: str, tmp_path: Path) -> None:
    assert json_of(urvc("list", "--json"))[0]["name"] == singer
    assert json_of(urvc("inspect", singer, "--json"))["sample_rate"] == 40000
    assert json_of(urvc("rename", singer, "alto", "--json"))["name"] == "alto"
    assert json_of(urvc("export", "alto", "-o", tmp_path / "out", "--json"))["path"] == str(
        tmp_path / "out" / "alto.zip"
    )
    small = tmp_path / "out" / "small.zip"
    code, _, told = urvc("export", "alto", "-o", small, "--precision", "int8")
    assert (code, small.is_file()) == (0, True)
    assert "Only this program reads a voice in 8 bits" in told
    assert urvc("export", "alto", "-o", tmp_path / "out" / "no.zip", "--precision", "int4")[0] == 2
    entry = json_of(urvc("delete", "alto", "--json"))
    assert json_of(urvc("trash", "--json"))[0]["id"] == entry["id"]
    assert urvc("inspect", "alto")[0] == 1
    assert json_of(urvc("restore", entry["id"], "--json"))["name"] == "alto"
    assert json_of(urvc("import", tmp_path / "out" / "alto.zip", "--name", "second", "--json"))["index"]
    assert (
        json_of(urvc("blend", "alto", "second", "--name", "both", "--ratio", 0.3, "--json"))["name"] == "both"
    )
    assert json_of(urvc("attach-index", "alto", "--detach", "--json"))["index"] is None
    assert json_of(urvc("attach-index", "alto", tmp_path / "source" / "singer.index", "--json"))["index"]
    assert json_of(urvc("refresh", "alto", "--json"))["warnings"] == []
    assert urvc("delete", "both")[0] == 0
    assert len(json_of(urvc("empty-trash", "--json"))) == 2
    assert "The trash is empty" in urvc("trash")[1]


def test_what_an_owner_says_is_shown_and_found(urvc: Urvc, singer: str, tmp_path: Path) -> None:
    assert "no preset" in urvc("preset", singer)[1]
    given = ("--n-semitones", 12, "--index-rate", 0.5, "--f0-method", "rmvpe", "--f0-method", "fcpe")
    expected = {"n_semitones": 12, "index_rate": 0.5, "f0_methods": ["rmvpe", "fcpe"]}
    assert json_of(urvc("preset", singer, *given, "--json")) == expected
    assert json_of(urvc("preset", singer, "--unset", "index-rate", "--unset", "f0-method", "--json")) == {
        "n_semitones": 12
    }
    assert json_of(urvc("preset", singer, "--clear", "--protect-rate", 0.1, "--json")) == {
        "protect_rate": 0.1
    }
    assert json_of(urvc("note", singer, "warm", "--json"))["note"] == "warm"
    assert json_of(urvc("tag", singer, "alto", "live", "--json"))["tags"] == ["alto", "live"]
    assert json_of(urvc("tag", singer, "--remove", "live", "--json"))["tags"] == ["alto"]
    Image.new("RGB", (30, 30)).save(tmp_path / "p.png")
    assert json_of(urvc("picture", singer, tmp_path / "p.png", "--json"))["picture"]
    assert "(no picture)" in urvc("picture", singer, "--remove")[1]
    assert [card["name"] for card in json_of(urvc("search", "WARM", "--tag", "Alto", "--json"))] == [singer]
    assert [card["name"] for card in json_of(urvc("search", "--no-index", "--version", "v1", "--json"))] == []
    out = urvc("list")[1]
    assert all(word in out for word in ("40k", "contentvec", "alto", "warm"))
    assert "No voice matches" in urvc("search", "nobody")[1]


def test_a_note_is_read_from_standard_input(urvc: Urvc, singer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines\n"))
    assert urvc("note", singer, "-")[1] == "two\nlines\n"
    assert urvc("note", singer)[1] == "two\nlines\n"
    assert urvc("note", singer, "")[1] == "(no note)\n"


def test_what_cannot_be_done_is_one_sentence(urvc: Urvc, singer: str, tmp_path: Path) -> None:
    evil = write_executing_voice(tmp_path / "evil.pth", tmp_path / "ran")
    for words, code, told in (
        (("import", evil), 1, "asks to run"),
        (("import", "https://example.com/v.zip"), 1, "URVC_OFFLINE forbids"),
        (("import", evil, "--sha256", "0" * 64), 2, "--sha256"),
        (("rename", singer, "a/b"), 2, "is no name"),
        (("rename", "nobody", "x"), 1, "There is no voice 'nobody'"),
        (("preset", singer, "--n-semitones", 99), 2, "--n-semitones is 99, but must be from -48 to 48"),
        (("preset", singer, "--unset", "sid"), 2, "--unset is 'sid'"),
        (("blend", singer, singer, "--name", "x", "--ratio", 2), 2, "--ratio is 2"),
        (("attach-index", singer), 2, "--detach"),
        (("picture", singer, tmp_path / "x.png", "--remove"), 2, "not both"),
        (("picture", singer, evil), 2, "no PNG, JPEG or WebP"),
        (("restore", "nobody"), 1, "The trash has no voice"),
        (("delete", "starter"), 1, "ships with the package"),
    ):
        got, out, err = urvc(*words)
        assert (got, out) == (code, ""), words
        assert told in err
        assert "Traceback" not in err
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_told(urvc: Urvc, singer: str) -> None:
    write_voice(voice_models_dir() / singer / "singer.pth", seed=8)
    _, out, err = urvc("inspect", singer)
    assert "sample_rate" in out
    assert "warning: singer.pth has changed since it came into the library" in err


def test_voices_come_from_links_and_from_the_table(
    urvc: Urvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_voice(tmp_path / "v.pth").read_bytes()
    table = tmp_path / "registry.tsv"
    header = "kind\tname\tpath\tbytes\tsha256\tmirrors\n"
    table.write_text(
        header + row("voice", "known", "voices/known/The Voice.pth", content, "team/one@main:v.pth")
    )
    small = registry.read_table(table)
    monkeypatch.setattr(registry, "assets", lambda: small)
    monkeypatch.setattr("ultimate_rvc.voices.fetching.assets", lambda: small)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("URVC_OFFLINE")
    with loopback() as server:
        monkeypatch.setenv("URVC_HF_ENDPOINT", server.url)
        server.serve("/team/one/resolve/main/v.pth", by_range(content))
        assert json_of(urvc("import", "known", "--json"))["name"] == "The Voice"
        link = server.serve("/elsewhere/Other.pth", by_range(content))
        assert json_of(urvc("import", link, "--json"))["name"] == "Other"

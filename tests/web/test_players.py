"""Players and mixers: what of a job can be heard, as HTML."""

from __future__ import annotations

import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from ultimate_rvc.audio.encode import encode
from ultimate_rvc.covers.wave_file import write_stem
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.progress import StepTime
from ultimate_rvc.web import players
from ultimate_rvc.web.players import Sound, mixer, play_button, player, waveform
from ultimate_rvc.web.stems import Track, original, stems, zip_stems
from ultimate_rvc.web.texts import load_texts
from ultimate_rvc.work.result import ResultFile, WorkResult

ENGLISH = load_texts("en")


class Elements(HTMLParser):
    """All elements with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def loud_at_the_end(path: Path, seconds: float = 2.0) -> Path:
    """A tone whose second half is ten times as loud."""
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * 220 * time_s) * np.where(time_s < seconds / 2, 0.05, 0.5)
    encode(path, tone.astype(np.float32)[None], 16_000)
    return path


def finished_cover(folder: Path) -> Job:
    """A cover in two pieces that were taken apart, converted and mixed."""
    made: dict[str, tuple[Path, ...]] = {}
    for step, names in {
        "separate": ("vocals", "instrumental"),
        "convert": ("converted",),
        "transpose instruments": ("transposed",),
        "mix": ("mix",),
    }.items():
        paths = [folder / step / str(piece) / f"{name}.wav" for piece in (1, 2) for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_stem(path, np.zeros((2, 100), np.float32), 44_100)
        made[step] = tuple(paths)
    song, cover = loud_at_the_end(folder / "song.flac"), loud_at_the_end(folder / "a song (v Ver).wav")
    steps = [
        StepTime("retrieve", 0.1, files=(song,)),
        *(StepTime(name, 1, files=made[name]) for name in made),
    ]
    result = WorkResult((ResultFile("cover", cover),), tuple(steps), ())
    return Job(id=1, kind="cover", title="a song by v", settings={"voice": "v"}, result=result)


def test_a_waveform_is_as_loud_as_the_sound(tmp_path: Path) -> None:
    bars = waveform(loud_at_the_end(tmp_path / "tone.wav"))
    assert len(bars) == players.BARS
    assert max(bars) == 1.0
    assert np.mean(bars[: players.BARS // 2 - 2]) == pytest.approx(0.1, abs=0.02)
    assert np.mean(bars[players.BARS // 2 + 2 :]) == pytest.approx(1.0, abs=0.02)


def test_what_is_no_sound_or_too_long_has_no_waveform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    assert waveform(tmp_path / "text.wav") == ()
    assert waveform(tmp_path / "missing.wav") == ()
    monkeypatch.setattr(players, "LONGEST_DRAWN", 1.0)
    assert waveform(loud_at_the_end(tmp_path / "long.wav")) == ()
    assert "<path" in player([Sound("long", tmp_path / "long.wav")], ENGLISH)  # a line instead


def test_a_player_turns_between_sounds_and_escapes_their_names(tmp_path: Path) -> None:
    path = loud_at_the_end(tmp_path / "a <b> & 'c'.wav")
    html = player([Sound("<i>Cover</i>", path), Sound("Original", path)], ENGLISH, "<u>")
    assert "<i>" not in html
    assert "<u>" not in html
    elements = Elements(html)
    assert [unquote(str(audio["src"])) for audio in elements.named("audio")] == [
        f"gradio_api/file={path}"
    ] * 2
    assert [audio["preload"] for audio in elements.named("audio")] == ["metadata", "none"]
    sides = [button for button in elements.named("button") if "data-side" in button]
    assert [button["aria-pressed"] for button in sides] == ["true", "false"]
    (wave,) = [part for part in elements.named("div") if part.get("role") == "slider"]
    assert (wave["aria-valuemax"], wave["tabindex"]) == ("2", "0")
    assert elements.named("a")[0]["download"] == path.name
    assert player([], ENGLISH) == ""
    assert "data-side" not in player([Sound("alone", path)], ENGLISH)
    assert Elements(play_button(Sound("x", path), ENGLISH)).named("audio")[0]["preload"] == "none"


def test_stems_are_the_song_and_what_each_step_made_and_those_of_the_mix_sound(tmp_path: Path) -> None:
    job = finished_cover(tmp_path)
    song = original(job)
    assert song is not None
    assert song.name == "song.flac"
    tracks = stems(job, ENGLISH)
    assert [(track.label, len(track.paths), track.plays) for track in tracks] == [
        ("Original", 1, False),
        ("Separate vocals: vocals", 2, False),
        ("Separate vocals: instrumental", 2, False),
        ("Convert the voice: converted voice", 2, True),
        ("Transpose instruments: transposed", 2, True),
    ]
    elements = Elements(mixer(tracks, ENGLISH))
    assert len(elements.named("li")) == len(tracks)
    muted = [button["aria-pressed"] for button in elements.named("button") if button.get("class") == "mute"]
    assert muted == ["true", "true", "true", "false", "false"]
    for path in tracks[1].paths:
        path.unlink()
    assert len(stems(job, ENGLISH)) == len(tracks) - 1  # what left the cache is not offered
    assert stems(None, ENGLISH) == []
    assert mixer([], ENGLISH) == ""


def test_all_stems_are_one_zip_that_is_written_whole(tmp_path: Path) -> None:
    tracks = [
        Track("One: two", (loud_at_the_end(tmp_path / "1.wav"),), True),
        Track("Pieces", (loud_at_the_end(tmp_path / "a.wav"), loud_at_the_end(tmp_path / "b.wav")), True),
    ]
    path = zip_stems(tracks, tmp_path / "zips", "長" * 90)
    assert len(path.name.encode()) <= 255
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["01 One - two.wav", "02 Pieces (1).wav", "02 Pieces (2).wav"]
        assert archive.read("02 Pieces (2).wav") == (tmp_path / "b.wav").read_bytes()
    (tmp_path / "1.wav").unlink()
    before = path.read_bytes()
    with pytest.raises(OSError, match=re.escape("1.wav")):
        zip_stems(tracks, tmp_path / "zips", "長" * 90)
    assert [each.read_bytes() for each in (tmp_path / "zips").iterdir()] == [before]

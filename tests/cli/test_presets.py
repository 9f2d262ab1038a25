"""A voice's preset stands in for what was not asked for, at every door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ultimate_rvc
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cli.main import run
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.voices.library import VoicePreset, import_voice, set_preset
from voice_factory import write_voice

PRESET = VoicePreset(n_semitones=5, index_rate=0.9, protect_rate=0.2)
Seen = list[ConversionSettings]


@pytest.fixture
def voice(tmp_path: Path) -> str:
    import_voice(write_voice(tmp_path / "singer.pth"), "singer")
    set_preset("singer", PRESET)
    return "singer"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The settings that reach the pipeline, which is then left alone."""
    found: Seen = []

    def stopped(path: Path, settings: ConversionSettings, **_: Any) -> Any:
        found.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "open", stopped)
    return found


@pytest.fixture
def track(tmp_path: Path) -> Path:
    encode(tmp_path / "track.wav", np.zeros(16_000, np.float32), 16_000)
    return tmp_path / "track.wav"


def through_command_line(track: Path, voice: str, *options: str) -> None:
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        run(["generate", "convert-voice", str(track), "--model", voice, *options])


def test_the_preset_is_used_on_the_command_line(voice: str, seen: Seen, track: Path) -> None:
    through_command_line(track, voice)
    assert (seen[0].n_semitones, seen[0].index_rate, seen[0].protect_rate) == (5, 0.9, 0.2)


def test_what_is_asked_for_goes_first_even_if_it_is_the_usual_value(
    voice: str, seen: Seen, track: Path
) -> None:
    usual = ConversionSettings()
    through_command_line(track, voice, "--index-rate", str(usual.index_rate), "--n-octaves", "0")
    assert (seen[0].n_semitones, seen[0].index_rate, seen[0].protect_rate) == (0, usual.index_rate, 0.2)


def test_the_preset_is_used_from_python(voice: str, seen: Seen, track: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ultimate_rvc.convert(track, voice, protect_rate=0.5)
    assert (seen[0].n_semitones, seen[0].index_rate, seen[0].protect_rate) == (5, 0.9, 0.5)


def test_the_preset_is_used_for_a_cover(
    voice: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found: list[Any] = []

    def stopped(song: str, model: str, settings: Any, *_: Any, **named: Any) -> Any:
        found.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("ultimate_rvc.work.cover.make_cover", stopped)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        run(["generate", "song-cover", "--source", "demo", "--model", voice, "--protect-rate", "0.1"])
    conversion = found[0].conversion
    assert (conversion.n_semitones, conversion.index_rate, conversion.protect_rate) == (5, 0.9, 0.1)


def test_a_changed_file_is_told_of(voice: str, track: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record = Path(ultimate_rvc.voices.library.find_voice(voice).folder or "") / "voice.json"
    told = json.loads(record.read_text("utf-8"))
    told["files"]["singer.pth"]["sha256"] = "0" * 64
    record.write_text(json.dumps(told), "utf-8")
    with pytest.raises(SystemExit):
        run(["generate", "convert-voice", str(track), "--model", voice, "--f0-method", "dio"])
    assert "singer.pth" in capfd.readouterr().err

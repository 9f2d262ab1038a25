"""Speech through the real engines and the real command line."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import hibari.voices
import numpy as np
import pytest
from numpy.typing import NDArray

import ultimate_rvc
from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.cli.main import run
from ultimate_rvc.errors import SettingError, SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech import engines, reading
from ultimate_rvc.speech.engines import Speaker, checked_speaker, open_engine
from ultimate_rvc.speech.reading import SPEECH_RMS, read_aloud

FloatArray = NDArray[np.float32]
TEXT = "Good morning, singers! The quick brown fox jumps over the lazy dog."


class ToneEngine:
    """Reads a passage as a tone, as long as it has letters, each louder than the one before."""

    rate_hz = 16_000

    def __init__(self) -> None:
        self.read: list[str] = []

    def speakers(self) -> tuple[Speaker, ...]:
        return (Speaker("tone", "en", "a tone"), Speaker("other", "en", "the same"))

    def synthesize(self, text: str, speaker: str | None, rate: float, seed: int) -> tuple[FloatArray, int]:
        self.read.append(text)
        count = round(len(text) * 0.05 * self.rate_hz / rate)
        level = 0.02 * len(self.read)
        return (level * np.sin(0.3 * np.arange(count))).astype(np.float32), self.rate_hz


def test_passages_are_joined_equally_loud_with_pauses_and_without_clicks() -> None:
    engine = ToneEngine()
    speech, rate = read_aloud("First one here. Second one.\n\nThird one.", engine, None, 1.0, 0, Progress())
    assert engine.read == ["First one here.", "Second one.", "Third one."]
    seconds = [0.75, 0.3, 0.55, 0.7, 0.5]
    assert len(speech) == pytest.approx(sum(seconds) * rate, abs=5)
    edges = np.cumsum([0.0, *seconds]) * rate
    for number, (start, end) in enumerate(pairwise(edges)):
        part = speech[int(start) + 200 : int(end) - 200]
        level = float(np.sqrt(np.mean(part**2)))
        assert level == (0 if number % 2 else pytest.approx(SPEECH_RMS, rel=0.05))
    assert np.abs(np.diff(speech)).max() < 0.06  # no step that the tone itself has not


def test_hibari_reads_alike_with_a_seed_and_faster_when_asked() -> None:
    engine = open_engine(SpeechEngineName.HIBARI)
    first, rate = read_aloud(TEXT, engine, None, 1.0, 7, Progress())
    again, _ = read_aloud(TEXT, engine, None, 1.0, 7, Progress())
    faster, _ = read_aloud(TEXT, engine, None, 1.5, 7, Progress())
    np.testing.assert_array_equal(first, again)
    assert rate == 24_000
    assert 3 < len(first) / rate < 8
    assert len(faster) < 0.8 * len(first)


def test_a_speaker_of_hibari_that_cannot_be_fetched_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    monkeypatch.delenv("URVC_OFFLINE", raising=False)
    monkeypatch.setattr(hibari.voices, "BASE_URL", "http://127.0.0.1:9/")  # nobody listens at discard
    with pytest.raises(SpeechError, match="speaker 'emma' could not be fetched: hibari: could not download"):
        open_engine(SpeechEngineName.HIBARI).synthesize("Hello.", "emma", 1.0, 0)


@pytest.mark.parametrize("program", engines.SYSTEM_PROGRAMS)
def test_the_systems_own_voices_read(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")
    engine = open_engine(SpeechEngineName.SYSTEM)
    speaker = next(each for each in engine.speakers() if each.name.startswith(program))
    speech, rate = read_aloud("--help is no option. " + TEXT, engine, speaker.name, 1.0, 0, Progress())
    assert len(speech) > 3 * rate


def test_an_engine_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SpeechError, match="'system' is not here: install espeak-ng or flite"):
        open_engine(SpeechEngineName.SYSTEM)


def test_an_unknown_speaker_and_empty_text_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpeechError, match="speaker 'nobody' is unknown; choose from tone, other"):
        checked_speaker(ToneEngine(), "nobody")
    with pytest.raises(SpeechError, match="nothing in the text that can be read"):
        read_aloud(" \U0001f600 ... ", ToneEngine(), None, 1.0, 0, Progress())
    monkeypatch.setattr(reading, "MOST_TEXT", 10)
    with pytest.raises(SpeechError, match="at most 10 are read at once"):
        read_aloud("a" * 11, ToneEngine(), None, 1.0, 0, Progress())


def test_python_speaks_with_and_without_a_voice() -> None:
    plain, rate = ultimate_rvc.speak("Good morning.", seed=3)
    voiced, voice_rate = ultimate_rvc.speak(
        "Good morning.", "starter", seed=3, device="cpu", f0_methods=("dio",)
    )
    assert len(voiced) / voice_rate == pytest.approx(len(plain) / rate, abs=0.01)
    with pytest.raises(SettingError, match="engine is 'robot'; choose from auto, hibari, system"):
        ultimate_rvc.speak("Hello.", engine="robot")


# ------------------------------------------------------------------ the command line

Urvc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def urvc(capsys: pytest.CaptureFixture[str]) -> Urvc:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_text_becomes_speech_in_a_voice(urvc: Urvc, tmp_path: Path) -> None:
    path = tmp_path / "morning.mp3"
    code, out, err = urvc("generate", "speech", TEXT, "--model", "starter", "--output", path)
    assert code == 0, err
    assert "RTF" in out
    assert str(path) in out
    spoken = decode_mono(path, 16_000)
    assert 3 < len(spoken) / 16_000 < 9
    assert np.abs(spoken).max() > 0.05


def test_a_file_and_standard_input_are_read_and_the_result_is_named_after_its_words(
    urvc: Urvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "letter.txt"
    source.write_text("\ufeffDear friend, all is well.", encoding="utf-8")
    code, out, _ = urvc("generate", "speech", source, "--json")
    assert code == 0
    told = json.loads(out)
    assert Path(told["path"]).name == "Dear friend, all is well.wav"
    assert told["voice"] is None
    assert probe(Path(told["path"])).sample_rate == 24_000
    monkeypatch.setattr(sys, "stdin", io.StringIO("Read from a pipe."))
    code, out, _ = urvc("generate", "speech", "-", "--output-name", "piped", "--json")
    assert (code, Path(json.loads(out)["path"]).name) == (0, "piped.wav")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["", "--json"], 2, "text is empty"),
        (["missing.txt"], 1, "missing.txt cannot be read"),
        (["Hello.", "--speaker", "nobody"], 1, "--speaker 'nobody' is unknown; choose from heart"),
        (["Hello.", "--rate", "9"], 2, "--rate"),
        (["Hello.", "--model", "nobody at all"], 1, "nobody at all"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(
    urvc: Urvc, words: list[str], code: int, told: str
) -> None:
    ended, _, err = urvc("generate", "speech", *words)
    assert ended == code
    assert told in err
    assert "Traceback" not in err


def test_engines_and_speakers_are_listed(urvc: Urvc) -> None:
    code, out, _ = urvc("speech", "engines", "--json")
    assert code == 0
    assert [engine["name"] for engine in json.loads(out)] == ["hibari", "system", "llasa", "kokoro", "edge"]
    code, out, _ = urvc("speech", "speakers", "--engine", "hibari")
    assert code == 0
    assert "heart" in out

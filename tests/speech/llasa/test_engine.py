"""The engine LLASA through the protocol of engines and through the command line, with tiny random models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from command_line import Urvc
from llasa_models import WORDS, write_tone
from tone_engine import read_by
from ultimate_rvc.audio.decode import probe
from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.engines import find_speaker
from ultimate_rvc.speech.llasa.engine import INTRODUCTION, Engine
from ultimate_rvc.speech.llasa.generation import Generator, Spoken
from ultimate_rvc.speech.llasa.settings import LlasaSettings

TEXT = "Good morning, singers! All is well."


@pytest.fixture(autouse=True)
def _small_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models seldom come to an end soon."""
    monkeypatch.setenv("URVC_LLASA_MAX_TOKENS", "320")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the model is asked to say, as text, and with which seed."""
    asked: list[tuple[str, int]] = []
    speak = Generator.speak

    def listening(self: Generator, prompt: object, seed: int, most: int | None = None) -> Spoken:
        asked.append((self._model.tokenizer.decode(prompt), seed))
        return speak(self, prompt, seed, most)  # type: ignore[arg-type]

    monkeypatch.setattr(Generator, "speak", listening)
    return asked


def test_it_is_an_engine_like_the_others(llasa_dir: Path) -> None:
    def read(seed: int) -> tuple[np.ndarray, int]:
        cast = choose(SpeechEngineName.LLASA, None, "en")
        assert [speaker.name for speaker in cast.engine.speakers()] == ["tiny", "anna.wav"]
        return read_by(cast.engine, TEXT, seed=seed)

    first, rate = read(7)
    again, _ = read(7)
    other, _ = read(8)
    assert rate == 16_000
    assert len(first) > rate / 4
    np.testing.assert_array_equal(first, again)
    assert len(other) != len(first) or not np.array_equal(other, first)


def test_a_recording_is_continued_with_its_words_before_the_text(
    llasa_dir: Path, asked: list[tuple[str, int]]
) -> None:
    waveform, _ = Engine().synthesize("Good day.", "anna.wav", 1.0, 3)
    ((prompt, _),) = asked
    assert f"{WORDS} Good day.<|TEXT_UNDERSTANDING_END|>" in prompt
    assert prompt.count("<|s_") == 30  # 0.6 s of the recording
    assert waveform.size
    by_path, _ = Engine().synthesize("Good day.", str(llasa_dir / "recordings" / "anna.wav"), 1.0, 3)
    np.testing.assert_array_equal(waveform, by_path)


@pytest.mark.parametrize("is_found", [True, False])
def test_a_model_speaks_every_passage_in_the_voice_that_the_seed_gave_it(
    llasa_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_found: bool
) -> None:
    """Unless it never comes to the end of its introduction, which is told once."""
    said: list[str] = []

    def speak(self: Generator, prompt: object, seed: int, most: int | None = None) -> Spoken:
        said.append(self._model.tokenizer.decode(prompt))
        return Spoken(np.arange(20) + seed, is_found or most is None)

    monkeypatch.setattr(Generator, "speak", speak)
    engine, seed = Engine(), 100 + is_found
    engine.synthesize("First one.", None, 1.0, seed)
    engine.synthesize("Second one.", None, 1.0, seed)
    introduction, first, second = said
    assert f"|>{INTRODUCTION}<|" in introduction
    before, codes = (f"{INTRODUCTION} ", 20) if is_found else ("", 0)
    assert f"|>{before}First one.<|" in first
    assert f"|>{before}Second one.<|" in second
    assert first.count("<|s_") == second.count("<|s_") == codes
    assert len([record for record in caplog.records if "found no voice with seed" in record.message]) == (
        0 if is_found else 1
    )


def test_a_text_that_is_too_long_for_the_context_is_cut_and_read_whole(
    llasa_dir: Path, asked: list[tuple[str, int]]
) -> None:
    engine = Engine(LlasaSettings(max_tokens=400))
    text = " ".join(f"This is sentence {number}, which is one of many." for number in range(5))
    waveform, _ = engine.synthesize(text, "anna.wav", 1.0, 0)
    said = [
        prompt.partition(f"|>{WORDS} ")[2].partition("<|TEXT_UNDERSTANDING_END|>")[0] for prompt, _ in asked
    ]
    assert len(said) > 2
    for number in range(5):
        assert any(f"sentence {number}," in part for part in said)
    assert waveform.size > 0.1 * 16_000 * len(said)


def test_what_does_not_come_to_an_end_is_read_in_halves_and_at_last_told(
    llasa_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        Generator, "speak", lambda self, prompt, seed, most=None: Spoken(np.arange(10), False)
    )
    text = "One two three four five six seven eight nine ten."
    waveform, rate = Engine().synthesize(text, "anna.wav", 1.0, 0)
    assert len(waveform) == 2 * 10 * 320 + 0.1 * rate  # two halves, and the silence between them
    assert [record.message for record in caplog.records if "did not come to an end" in record.message]


def test_the_pace_changes_the_length_and_nothing_is_said_for_nothing(llasa_dir: Path) -> None:
    engine = Engine()
    usual, _ = engine.synthesize(TEXT, "anna.wav", 1.0, 3)
    faster, _ = engine.synthesize(TEXT, "anna.wav", 2.0, 3)
    assert len(faster) == pytest.approx(len(usual) / 2, abs=2)
    assert engine.synthesize(" ", "anna.wav", 1.0, 3)[0].size == 0


def test_recordings_that_cannot_be_read_like_are_told(llasa_dir: Path, tmp_path: Path) -> None:
    engine = Engine()
    with pytest.raises(SpeechError, match=r"'me\.wav' is unknown; choose from tiny, anna\.wav"):
        find_speaker(engine, "me.wav")
    recording = write_tone(tmp_path / "me.wav")
    assert find_speaker(engine, str(recording)).name == str(recording)
    with pytest.raises(SpeechError, match=r"words of the recording .*me\.wav are needed beside it.*me\.txt"):
        engine.synthesize(TEXT, str(recording), 1.0, 0)
    (tmp_path / "me.txt").write_text(" ", encoding="utf-8")
    with pytest.raises(SpeechError, match=r"me\.txt has 0 characters"):
        engine.synthesize(TEXT, str(recording), 1.0, 0)
    (tmp_path / "me.txt").write_text("Words.", encoding="utf-8")
    write_tone(recording, seconds=21)
    with pytest.raises(SpeechError, match=r"me\.wav has 21 s, and at most 20 s leave room"):
        engine.synthesize(TEXT, str(recording), 1.0, 0)


def test_the_command_line_reads_with_it(llasa_dir: Path, urvc: Urvc, tmp_path: Path) -> None:
    path = tmp_path / "morning.wav"
    words = ("generate", "speech", TEXT, "--engine", "llasa", "--speaker", "anna.wav", "--output", path)
    code, _, err = urvc(*words)
    assert (code, "Once you set --consent, which says" in err, path.exists()) == (2, True, False), err
    code, out, err = urvc(*words, "--consent")
    assert code == 0, err
    assert "RTF" in out
    assert probe(path).sample_rate == 16_000
    code, out, _ = urvc("speech", "voices", "--engine", "llasa")
    assert (code, "anna.wav" in out) == (0, True)


def test_without_models_the_command_line_says_what_to_get(
    urvc: Urvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path))
    code, _, err = urvc("generate", "speech", TEXT, "--engine", "llasa", "--output", tmp_path / "x.wav")
    assert code == 1
    assert "'llasa' is not here: get the folders HKUSTAudio/Llasa-1B and HKUSTAudio/xcodec2-hf" in err
    assert "CC-BY-NC-4.0, forbids commercial use" in err
    assert "Traceback" not in err

"""Speech through the real engines and the real command line."""

from __future__ import annotations

import io
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import hibari.voices
import numpy as np
import pytest
from numpy.typing import NDArray

import ultimate_rvc
from command_line import Urvc
from tone_engine import ToneEngine, reader_of
from ultimate_rvc.audio.decode import decode_mono, probe
from ultimate_rvc.audio.loudness import loudness_lufs
from ultimate_rvc.choices import F0Method, SpeechEngineName, SubtitleFormat
from ultimate_rvc.errors import SettingError, SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.speech import engines, reading
from ultimate_rvc.speech.choosing import Cast, choose
from ultimate_rvc.speech.documents import chapters_of_file
from ultimate_rvc.speech.engines import find_speaker, open_engine
from ultimate_rvc.speech.reading import SPEECH_RMS, Reader, read_aloud
from ultimate_rvc.speech.samples import sample_text
from ultimate_rvc.speech.script import chapter_of
from ultimate_rvc.work.heard import published
from ultimate_rvc.work.requests import SpeechRequest
from ultimate_rvc.work.speech import speak
from ultimate_rvc.work.workbench import own_workbench

FloatArray = NDArray[np.float32]
TEXT = "Good morning, singers! The quick brown fox jumps over the lazy dog."


def read(text: str, reader: Reader) -> tuple[FloatArray, int]:
    speech = read_aloud(chapter_of(text), reader, Progress())
    return speech.waveform, speech.sample_rate


def test_passages_are_joined_equally_loud_with_pauses_and_without_clicks() -> None:
    engine = ToneEngine()
    speech, rate = read("First one here. Second one.\n\nThird one.", reader_of(engine))
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
    cast = choose(SpeechEngineName.HIBARI, None, None)
    first, rate = read(TEXT, Reader(cast, seed=7))
    again, _ = read(TEXT, Reader(cast, seed=7))
    faster, _ = read(TEXT, Reader(cast, rate=1.5, seed=7))
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
    speech, rate = read("--help is no option. " + TEXT, Reader(Cast(engine, speaker)))
    assert len(speech) > 3 * rate


def test_an_engine_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SpeechError, match="'system' is not here: install espeak-ng or flite"):
        open_engine(SpeechEngineName.SYSTEM)


def test_an_unknown_speaker_and_empty_text_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpeechError, match="speaker 'nobody' is unknown; choose from tone, other"):
        find_speaker(ToneEngine(), "nobody")
    with pytest.raises(SpeechError, match="nothing in the text that can be read"):
        read(" \U0001f600 ... ", reader_of(ToneEngine()))
    monkeypatch.setattr(reading, "MOST_TEXT", 10)
    with pytest.raises(SpeechError, match="at most 10 are read at once"):
        read("a" * 11, reader_of(ToneEngine()))


def test_python_speaks_with_and_without_a_voice() -> None:
    plain, rate = ultimate_rvc.speak("Good morning.", seed=3)
    voiced, voice_rate = ultimate_rvc.speak(
        "Good morning.", "starter", seed=3, device="cpu", f0_methods=("dio",)
    )
    assert len(voiced) / voice_rate == pytest.approx(len(plain) / rate, abs=0.01)
    with pytest.raises(SettingError, match="engine is 'robot'; choose from auto, hibari, system"):
        ultimate_rvc.speak("Hello.", engine="robot")


def test_what_is_heard_meanwhile_is_the_result(tmp_path: Path) -> None:
    request = SpeechRequest(
        text="The old gate was painted green. We heard thunder behind the hills. She keeps her letters.",
        voice="starter",
        conversion=ConversionSettings(seed=3, f0_methods=(F0Method.DIO,)),
        output=tmp_path / "whole.wav",
        subtitles=SubtitleFormat.SRT,
    )
    with own_workbench(Progress()) as bench:
        bench.is_heard = True
        result = speak(request, bench)
        heard = [decode_mono(path, 16_000) for path in published(bench.folder)]
    whole = decode_mono(tmp_path / "whole.wav", 16_000)
    assert len(heard) >= 2
    assert sum(map(len, heard)) == pytest.approx(len(whole), abs=10)
    np.testing.assert_allclose(np.concatenate(heard)[:8_000], whole[:8_000], atol=0.01)
    assert [step.name for step in result.steps] == ["load voice", "speak", "convert", "write"]
    cues = chapters_of_file(tmp_path / "whole.srt")[0].stretches
    assert [cue.text for cue in cues] == request.text.replace(". ", ".|").split("|")  # type: ignore[union-attr]


# ------------------------------------------------------------------ the command line


def test_a_text_becomes_speech_in_a_voice(urvc: Urvc, tmp_path: Path) -> None:
    path = tmp_path / "morning.mp3"
    code, out, err = urvc("generate", "speech", TEXT, "--model", "starter", "--output", path)
    assert code == 0, err
    assert "RTF" in out
    assert str(path) in out
    spoken = decode_mono(path, 16_000)
    assert 3 < len(spoken) / 16_000 < 9
    assert np.abs(spoken).max() > 0.05


def test_a_file_and_standard_input_are_read(
    urvc: Urvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "letter.txt"
    source.write_text("\ufeffDear friend, all is well.", encoding="utf-8")
    code, out, _ = urvc("generate", "speech", source, "--json")
    assert code == 0
    told = json.loads(out)
    assert Path(told["path"]).name == "letter.wav"
    assert told["voice"] is None
    assert probe(Path(told["path"])).sample_rate == 24_000
    monkeypatch.setattr(sys, "stdin", io.StringIO("Read from a pipe."))
    code, out, _ = urvc("generate", "speech", "-", "--output-name", "piped", "--json")
    assert (code, Path(json.loads(out)["path"]).name) == (0, "piped.wav")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["", "--json"], 2, "TEXT is empty"),
        (["missing.txt"], 1, "There is no file"),
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


def onsets(path: Path) -> FloatArray:
    """Where sound begins after at least 0.3 s of silence, in seconds."""
    waveform = decode_mono(path, 16_000)
    loud = np.flatnonzero(np.abs(waveform) > 0.05 * np.abs(waveform).max()) / 16_000
    return loud[np.flatnonzero(np.diff(loud, prepend=-1.0) > 0.3)].astype(np.float32)


SRT = """1
00:00:01,000 --> 00:00:02,500
Good morning.

2
00:00:04,000 --> 00:00:06,000
Birds are singing.
"""


def test_subtitles_keep_their_times_through_a_voice_and_stay_as_they_were(urvc: Urvc, tmp_path: Path) -> None:
    source, output = tmp_path / "talk.srt", tmp_path / "talk.wav"
    source.write_text(SRT, encoding="utf-8")
    words = ["generate", "speech", source, "--voice", "starter", "--output", output, "--subtitles", "srt"]
    for _ in range(2):
        code, out, err = urvc(*words, "--overwrite")
        assert code == 0, err
    assert np.abs(onsets(output) - [1.0, 4.0]).max() < 0.1
    assert source.read_text(encoding="utf-8") == SRT
    beside = tmp_path / "talk (1).srt"
    assert f"subtitles: {beside}" in out
    assert "00:00:04,000 --> " in beside.read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk (1).srt", "talk.srt", "talk.wav"]


def test_each_chapter_has_its_file_as_loud_as_asked(urvc: Urvc, tmp_path: Path) -> None:
    source = tmp_path / "book.md"
    source.write_text("# The Gate\n\nIt was **old**.\n\n# The End\n\nIt fell.\n", encoding="utf-8")
    words = ["--split-chapters", "--loudness-lufs", "-20", "--output-format", "flac", "--subtitles", "vtt"]
    code, out, err = urvc("generate", "speech", source, "--output", tmp_path / "parts", *words, "--json")
    assert code == 0, err
    files = [Path(file["path"]) for file in json.loads(out)["files"]]
    assert [path.name for path in files] == [
        *(
            "book - 01 The Gate.flac",
            "book - 01 The Gate.vtt",
            "book - 02 The End.flac",
            "book - 02 The End.vtt",
        ),
    ]
    for path in files[::2]:
        waveform = decode_mono(path, 24_000)
        assert loudness_lufs(waveform, 24_000) == pytest.approx(-20, abs=0.5)
    assert "It was old." in files[1].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["Hi.", "--document", "a.txt"], 2, "TEXT and --document are both given"),
        (
            ["Hi.", "--split-chapters", "--output", "a.wav"],
            2,
            "a.wav is one file, but each chapter has its own",
        ),
        (["Hi.", "--lexicon", "none.tsv"], 1, "There is no file"),
        (["Hi.", "--language", "xx"], 1, "--language 'xx' is read by nobody here"),
        (["Hi.", "--loudness-lufs", "0"], 2, "--loudness-lufs is 0.0, but must be from -40 to -5"),
        (["<speak>\n<b>Hi</b></speak>"], 1, "Line 2 of the SSML: <b> is not understood"),
        (["你好"], 1, "the text is in another script"),
        (["Hi.", "--text-format", "epub"], 1, "A book in EPUB is a file"),
    ],
)
def test_wrong_wishes_are_told_in_one_sentence(urvc: Urvc, words: list[str], code: int, told: str) -> None:
    ended, _, err = urvc("generate", "speech", *words)
    assert ended == code
    assert told in err
    assert "Traceback" not in err


def test_standard_input_that_is_too_long_is_not_cut_in_silence(
    urvc: Urvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("word " * 2_000_001))
    code, _, err = urvc("generate", "speech", "-")
    assert code == 2
    assert "over 10,000,000 characters: cut it into parts" in err


def test_a_sample_is_written_in_the_speakers_language(urvc: Urvc, tmp_path: Path) -> None:
    code, out, err = urvc("speech", "sample", "heart", "--output", tmp_path / "heart.wav")
    assert code == 0, err
    assert f"speech: {tmp_path / 'heart.wav'}" in out
    assert 2 < probe(tmp_path / "heart.wav").duration_seconds < 9
    assert sample_text("de-AT").startswith("Guten Morgen")
    assert sample_text("xx") == sample_text("en-GB")
    code, _, err = urvc("speech", "sample", "nobody")
    assert code == 1
    assert "'nobody' is unknown" in err


def test_engines_and_their_voices_are_listed(urvc: Urvc) -> None:
    code, out, _ = urvc("speech", "engines", "--json")
    assert code == 0
    names = [engine["name"] for engine in json.loads(out)]
    assert names == ["hibari", "system", "llasa", "mockingbird", "kokoro", "edge"]
    code, out, _ = urvc("speech", "voices", "--engine", "hibari", "--language", "en-US")
    assert code == 0
    assert "heart" in out
    assert "en-GB" not in out

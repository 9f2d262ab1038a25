"""Chapters read aloud with a known engine: times kept, manners obeyed, what nobody can read told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tone_engine import LETTER_SECONDS, ToneEngine, reader_of
from ultimate_rvc.choices import SpeechEngineName, TextFormat
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.documents import chapters_of
from ultimate_rvc.speech.reading import (
    BREATH_SECONDS,
    KEPT_SECONDS,
    MOST_HASTE,
    SPEECH_RMS,
    Reader,
    Speech,
    read_aloud,
    read_pieces,
)
from ultimate_rvc.speech.spoken import read_lexicon, spoken


def read(text: str, engine: ToneEngine, **more: object) -> Speech:
    (chapter,) = chapters_of(text)
    return read_aloud(chapter, reader_of(engine, **more), Progress())


def sounding(speech: Speech, begin: float, end: float) -> float:
    part = speech.waveform[round(begin * speech.sample_rate) : round(end * speech.sample_rate)]
    return float(np.sqrt(np.mean(part**2)))


def srt(*cues: tuple[float, float, str]) -> str:
    return "".join(
        f"{number}\n00:{begin // 60:02.0f}:{begin % 60:06.3f} --> 00:{end // 60:02.0f}:{end % 60:06.3f}\n{text}\n\n"
        for number, (begin, end, text) in enumerate(cues, 1)
    )


# ------------------------------------------------------------------ at their times


def test_subtitles_begin_at_their_times_without_the_engines_silence() -> None:
    engine = ToneEngine(silence_seconds=0.3)
    speech = read(srt((1, 2, "Ten letters"), (4.5, 6, "Eleven more."), (7, 8, "...")), engine)
    assert [cue.begin for cue in speech.cues] == [1, 4.5]
    for cue in speech.cues:
        assert sounding(speech, cue.begin - 0.5, cue.begin) == 0
        assert sounding(speech, cue.begin + KEPT_SECONDS, cue.begin + 0.3) == pytest.approx(
            SPEECH_RMS, rel=0.3
        )
    assert speech.warnings == ()


def test_two_hundred_subtitles_keep_their_times() -> None:
    begins = [0.37 + 2.5 * number for number in range(200)]
    speech = read(srt(*((begin, begin + 2, f"Line number {begin}.") for begin in begins)), ToneEngine())
    assert len(speech.cues) == 200
    assert max(abs(cue.begin - begin) for cue, begin in zip(speech.cues, begins, strict=True)) < 0.001
    heard = np.flatnonzero(np.abs(speech.waveform) > 0.01) / speech.sample_rate
    onsets = heard[np.flatnonzero(np.diff(heard, prepend=-1) > 0.2)]
    assert np.abs(onsets - begins).max() < 0.1


def test_a_subtitle_that_is_too_long_is_said_faster_and_keeps_the_next_in_time() -> None:
    engine = ToneEngine()
    long = "x" * 40  # 2 s at the usual pace
    speech = read(srt((0, 1, long), (1.6, 2, "y")), engine)
    assert engine.rates[0] == 1
    assert 1.25 < max(engine.rates) < MOST_HASTE
    assert speech.cues[1].begin == pytest.approx(1.6, abs=0.001)
    assert speech.warnings == ()


def test_one_that_cannot_be_said_in_time_pushes_the_next_and_is_told() -> None:
    engine = ToneEngine()
    speech = read(srt((0, 1, "x" * 60), (1, 2, "y" * 4), (9, 10, "z")), engine)
    assert max(engine.rates) == MOST_HASTE
    pushed = 60 * LETTER_SECONDS / MOST_HASTE + BREATH_SECONDS
    assert [cue.begin for cue in speech.cues] == pytest.approx([0, pushed, 9], abs=0.01)
    (warning,) = speech.warnings
    assert warning.startswith("1 of 3 subtitles begin later than their time")


# ------------------------------------------------------------------ one after another


def test_cues_tell_when_each_passage_is_heard() -> None:
    speech = read("First one here. Second one.\n\nThird one.", ToneEngine())
    assert [cue.text for cue in speech.cues] == ["First one here.", "Second one.", "Third one."]
    for cue, following in pairwise(speech.cues):
        assert sounding(speech, cue.begin, cue.end) == pytest.approx(SPEECH_RMS, rel=0.1)
        assert sounding(speech, cue.end + 0.001, following.begin - 0.001) == 0
    assert speech.cues[-1].end == pytest.approx(len(speech.waveform) / speech.sample_rate, abs=0.001)


def test_ssml_is_said_in_its_manner() -> None:
    engine = ToneEngine(silence_seconds=0.2)
    speech = read(
        '<speak><break time="1s"/>Usual voice.<break time="2s"/><prosody rate="50%" volume="-6dB">Slow one.</prosody>'
        '<voice name="other">Other <sub alias="spoken">written</sub></voice></speak>',
        engine,
    )
    assert engine.read == ["Usual voice.", "Slow one.", "Other", "spoken"]
    assert engine.rates == [1, 0.5, 1, 1]
    assert engine.by == ["tone", "tone", "other", "other"]
    usual, slow, _, alias = speech.cues
    assert usual.begin == pytest.approx(1.0)
    assert slow.begin - usual.end == pytest.approx(2.0)
    assert alias.text == "written"
    loud, soft = (sounding(speech, cue.begin + 0.1, cue.end - 0.1) for cue in (usual, slow))
    assert soft / loud == pytest.approx(0.5, rel=0.05)


def test_a_pitch_of_ssml_shifts_the_tone_and_not_its_length() -> None:
    plain = read("<speak>A tone of some length.</speak>", ToneEngine())
    high = read('<speak><prosody pitch="+12st">A tone of some length.</prosody></speak>', ToneEngine())
    assert len(high.waveform) == pytest.approx(len(plain.waveform), rel=0.05)
    peaks = [int(np.abs(np.fft.rfft(each.waveform, 1 << 16)).argmax()) for each in (plain, high)]
    assert peaks[1] / peaks[0] == pytest.approx(2, rel=0.01)


def test_a_speaker_of_ssml_that_is_not_there_is_told_with_its_line_before_anything_is_read() -> None:
    engine = ToneEngine()
    with pytest.raises(SpeechError, match="Line 2 of the SSML: speaker 'nobody' is unknown"):
        read('<speak>Hello\n<voice name="nobody">you</voice></speak>', engine)
    assert engine.read == []


def test_pieces_come_one_by_one_in_the_order_of_the_whole() -> None:
    engine = ToneEngine()
    text = "First one here. Second one.\n\nThird one."
    (chapter,) = chapters_of(text)
    pieces = read_pieces(chapter, reader_of(engine), Progress())
    assert next(pieces).text == "First one here."
    assert engine.read == ["First one here."]
    rest = [piece.text for piece in pieces]
    assert rest == ["Second one.", "Third one."]


# ------------------------------------------------------------------ what is said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("£3, 50% off", "3 pounds, 50% off"),
        ("$5.20, 10€ or 1.50$", "5 dollars and 20 cents, 10 euros or 1 dollar and 50 cents"),
        ("€1.5 million and $5M", "1.5 million euros and 5 million dollars"),
        ("$1, £0.01 and $2.00", "1 dollar, 1 penny and 2 dollars"),
        ("$1,234.5", "1,234.5 dollars"),
        ("example.org or a.b.co.uk.", "example dot org or a dot b dot co dot uk."),
        ("v 2.5.1, 192.168.0.1 and 2.5", "v 2 point 5 point 1, 192 point 168 point 0 point 1 and 2.5"),
        ("No. 5 is ~7", "number 5 is about 7"),
        ("He said no. Five left.", "He said no. Five left."),
        ("I said 你好 to Привет her, naïve café, 5 µm", "I said to her, naïve café, 5 µm"),
        ("In 1999 at 7:30 pm, Dr. Smith", "In 1999 at 7:30 pm, Dr. Smith"),
    ],
)
def test_what_english_readers_leave_undone_is_written_out(written: str, said: str) -> None:
    assert spoken(written, "en-US", {}) == said


def test_other_languages_are_left_to_their_engines() -> None:
    for text in ("$5.20 你好", "Preis: 5 € bei example.de"):
        assert spoken(text, "de", {}) == text


def test_a_lexicon_says_how_words_are_said(tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_text("# names\nGIF\tjif\nSt. John\tSinjin\n\nC++\tsee plus plus\n", encoding="utf-8")
    engine = ToneEngine()
    read("A gif by St. John in C++, no gifs.", engine, lexicon=read_lexicon(path))
    assert engine.read == ["A jif by Sinjin in see plus plus, no gifs."]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"word respelling\n", "Line 1 of the lexicon .* is no word, tab and respelling"),
        (b"a\tb\n\tx\n", "Line 2 of the lexicon"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_wrong_lexicon_is_one_sentence(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "words.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpeechError, match=told):
        read_lexicon(path)


def test_letters_that_the_speaker_does_not_read_are_left_out_and_told() -> None:
    engine = ToneEngine()
    speech = read("I said 你好。再見。 Good.", engine)
    assert engine.read == ["I said 。", "Good."]
    assert speech.warnings == (
        "4 letters were left out: the speaker tone reads en-US only. Choose a speaker of their language for them.",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("你好。再見。", "The speaker tone reads en-US, and the text is in another script"),
        ("\U0001f600 \U0001f680", "nothing in the text that can be read"),
        ("<speak> <break/> </speak>", "nothing in the text that can be read"),
        (srt((0, 1, "...")), "nothing in the text that can be read"),
    ],
)
def test_a_text_without_a_word_is_one_sentence(text: str, told: str) -> None:
    with pytest.raises(SpeechError, match=told):
        read(text, ToneEngine())


def test_a_long_text_is_read_whole() -> None:
    text = "A sentence of thirty letters. " * 667
    assert len(text) > 20_000
    engine = ToneEngine()
    speech = read(text, engine)
    assert len(engine.read) == len(speech.cues) == 667


# ------------------------------------------------------------------ who reads


def test_a_language_finds_its_speaker_and_an_engine() -> None:
    assert choose(SpeechEngineName.AUTO, None, "en").speaker.name == "heart"
    british = choose(SpeechEngineName.AUTO, None, "en-GB").speaker
    assert british.language == "en-GB"
    with pytest.raises(SpeechError, match="language 'xx' is read by nobody here; choose from en-GB, en-US"):
        choose(SpeechEngineName.HIBARI, None, "xx")
    with pytest.raises(SpeechError, match="speaker 'heart' reads en-US, not the language de"):
        choose(SpeechEngineName.HIBARI, "heart", "de")


def test_hibari_keeps_a_subtitles_time() -> None:
    (chapter,) = chapters_of(
        srt((1, 3, "Good morning."), (4, 6, "The quick brown fox.")), TextFormat.SUBTITLES
    )
    cast = choose(SpeechEngineName.HIBARI, None, None)
    speech = read_aloud(chapter, Reader(cast), Progress())
    loud = np.flatnonzero(np.abs(speech.waveform) > 0.05 * np.abs(speech.waveform).max()) / speech.sample_rate
    assert loud[0] == pytest.approx(1, abs=0.1)
    assert loud[loud > 3][0] == pytest.approx(4, abs=0.1)

"""A chapter read aloud: passage by passage, equally loud, with pauses or at its times, in one waveform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.level import db_to_gain
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.progress import Progress
from ultimate_rvc.speech.choosing import Cast
from ultimate_rvc.speech.consent import check_consent
from ultimate_rvc.speech.passages import MOST_TEXT, passages
from ultimate_rvc.speech.recall import read_passage
from ultimate_rvc.speech.script import Chapter, Manner, Stretch
from ultimate_rvc.speech.spoken import spoken, unreadable_letters
from ultimate_rvc.speech.subtitles import Cue

FloatArray = NDArray[np.float32]

EDGE_SECONDS = 0.005  # faded at both ends of a passage, so that none begins with a click
SPEECH_RMS = 0.08  # -22 dBFS, of every passage
LOUDEST = 0.95
QUIETEST_RMS = 1e-4  # below, a passage is silence and stays it
SLOWEST, FASTEST = 0.5, 2.0  # the paces that engines are asked for
MOST_HASTE = 1.5  # times its pace at which a subtitle is said that has too little time
BREATH_SECONDS = 0.05  # between subtitles that follow each other at once
LATE_SECONDS = 0.1  # a subtitle that begins later than so much after its time is told of
SILENT_SHARE = 0.02  # -34 dB of the loudest sample: what an engine leaves around a passage is below
KEPT_SECONDS = 0.03  # of that silence, since consonants begin softly


@dataclass(frozen=True)
class Piece:
    """A passage as it is heard."""

    waveform: FloatArray
    """float32, ``(samples,)``."""
    sample_rate: int
    text: str
    pause_seconds: float
    """Silence after it."""
    silence_first_seconds: float = 0.0
    """Silence before it, where the text asks for some before anything is said."""

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate


@dataclass(frozen=True)
class Speech:
    """A chapter as it is heard."""

    waveform: FloatArray
    """float32, ``(samples,)``."""
    sample_rate: int
    cues: tuple[Cue, ...]
    """What is said when."""
    warnings: tuple[str, ...] = ()


@dataclass
class Reader:
    """Reads with one engine; counts what it cannot read."""

    cast: Cast
    rate: float = 1.0
    seed: int = 0
    lexicon: Mapping[str, str] = field(default_factory=dict)
    has_consent: bool = False
    """Whether the user consents now that persons' voices are imitated."""
    unreadable: int = 0
    """Letters in scripts that the speaker does not read."""
    sample_rate: int = 0
    """Of all pieces in Hz: that of the first."""

    def check(self, chapter: Chapter) -> None:
        """
        Raises
        ------
        SpeechError
            The chapter is too long, or asks for a speaker that is not there; a :class:`ConsentError` where one is a
            person who is imitated without consent.
        """
        if chapter.characters > MOST_TEXT:
            raise SpeechError(
                f"The text has {chapter.characters:,} characters, and at most {MOST_TEXT:,} are read at once: "
                "cut it into parts."
            )
        speakers = {self.cast.speaker.name}
        for stretch in chapter.stretches:
            try:
                speakers.add(self.cast.speaker_named(stretch.manner.speaker).name)
            except SpeechError as error:
                raise SpeechError(f"Line {stretch.manner.line} of the SSML: {error}") from error
        check_consent(self.cast.engine, speakers, is_given=self.has_consent)

    def pieces(self, stretch: Stretch, *, is_exact: bool = False, haste: float = 1.0) -> Iterator[Piece]:
        """A stretch passage by passage; a passage without sound is left out.

        Parameters
        ----------
        is_exact : bool
            Cut off the silence that engines leave around a passage.
        haste : float
            Times the pace that the stretch has.
        """
        said = passages(stretch.text if stretch.spoken is None else stretch.spoken)
        for number, passage in enumerate(said):
            waveform = self._say(passage.text, stretch.manner, haste)
            if is_exact:
                waveform = _without_silence(waveform, self.sample_rate)
            is_last = number == len(said) - 1
            pause = stretch.pause_seconds if is_last else None
            text = passage.text if stretch.spoken is None else stretch.text.strip()
            if waveform.size:
                joinable = _joinable(waveform, self.sample_rate, stretch.manner.gain_db)
                yield Piece(
                    joinable, self.sample_rate, text, passage.pause_seconds if pause is None else pause
                )

    def _say(self, text: str, manner: Manner, haste: float) -> FloatArray:
        speaker = self.cast.speaker_named(manner.speaker)
        self.unreadable += unreadable_letters(text, speaker.language)
        text = spoken(text, speaker.language, self.lexicon)
        if not any(map(str.isalnum, text)):
            return np.zeros(0, np.float32)
        pace = min(max(self.rate * manner.rate * haste, SLOWEST), FASTEST)
        waveform, own_rate = read_passage(self.cast.engine, text, speaker.name, pace, self.seed)
        if not waveform.size:
            return waveform
        self.sample_rate = self.sample_rate or own_rate
        waveform = resample(waveform, own_rate, self.sample_rate)
        return _shifted(waveform, self.sample_rate, manner.semitones) if manner.semitones else waveform

    @property
    def warnings(self) -> tuple[str, ...]:
        if not self.unreadable:
            return ()
        speaker = self.cast.speaker
        return (
            f"{self.unreadable:,} letters were left out: the speaker {speaker.name} reads {speaker.language} only. "
            "Choose a speaker of their language for them.",
        )


def read_aloud(chapter: Chapter, reader: Reader, progress: Progress) -> Speech:
    """A chapter as speech.

    Raises
    ------
    SpeechError
        There is nothing to read, too much, or no such speaker.
    """
    line = (_at_times if chapter.is_timed else _one_after_another)(chapter, reader, progress)
    progress.report("speak", 1.0)
    return line.speech()


def read_pieces(chapter: Chapter, reader: Reader, progress: Progress) -> Iterator[Piece]:
    """A chapter piece by piece, each as soon as it was read; times of subtitles are not kept.

    Raises
    ------
    SpeechError
        The chapter is too long, or asks for a speaker that is not there.
    """
    reader.check(chapter)
    done, total, silence = 0, max(chapter.characters, 1), 0.0
    for stretch in chapter.stretches:
        progress.report("speak", done / total, stretch.text.strip()[:60])
        said = 0
        for piece in reader.pieces(stretch, is_exact=chapter.is_exact):
            yield replace(piece, silence_first_seconds=silence)
            silence, said = 0.0, said + len(piece.text)
            progress.report("speak", min((done + said) / total, 1.0), piece.text[:60])
        if not passages(stretch.text):  # a break between marks that are not said
            silence += stretch.pause_seconds or 0.0
        done += len(stretch.text)


def nothing_to_read(reader: Reader) -> SpeechError:
    """Why a text gave no sound."""
    if reader.unreadable:
        speaker = reader.cast.speaker
        return SpeechError(
            f"The speaker {speaker.name} reads {speaker.language}, and the text is in another script: name its "
            "language, or somebody who reads it."
        )
    return SpeechError("There is nothing in the text that can be read aloud.")


class Line:
    """The waveform of a chapter while it grows, and what is said when."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._parts: list[FloatArray] = []
        self._end = 0
        self._length = 0
        self.cues: list[Cue] = []
        self.warnings: list[str] = []

    @property
    def seconds(self) -> float:
        """Where the next piece would begin."""
        return self._length / self._reader.sample_rate if self._length else 0.0

    def add(self, piece: Piece) -> None:
        self.wait(piece.silence_first_seconds)
        begin = self.seconds
        self._put(piece.waveform)
        self._end = self._length
        if piece.text:
            self.cues.append(Cue(piece.text, begin, self.seconds))
        self.wait(piece.pause_seconds)

    def wait(self, seconds: float) -> None:
        if seconds > 0:
            self._put(np.zeros(round(seconds * self._reader.sample_rate), np.float32))

    def _put(self, part: FloatArray) -> None:
        self._parts.append(part)
        self._length += len(part)

    def speech(self) -> Speech:
        """What there is, without the last pause, which is nobody's.

        Raises
        ------
        SpeechError
            It is nothing.
        """
        if not self.cues:
            raise nothing_to_read(self._reader)
        waveform = np.concatenate(self._parts)[: self._end]
        warnings = (*self._reader.warnings, *self.warnings)
        return Speech(waveform, self._reader.sample_rate, tuple(self.cues), warnings)


def _one_after_another(chapter: Chapter, reader: Reader, progress: Progress) -> Line:
    line = Line(reader)
    for piece in read_pieces(chapter, reader, progress):
        line.add(piece)
    return line


def _at_times(chapter: Chapter, reader: Reader, progress: Progress) -> Line:
    """Each stretch at its time; one that is too long for it is said faster, and then pushes the next."""
    reader.check(chapter)
    line = Line(reader)
    late = 0
    begins = [stretch.begin_seconds or 0.0 for stretch in chapter.stretches]
    for number, (stretch, (begin, following)) in enumerate(
        zip(chapter.stretches, pairwise([*begins, float("inf")]), strict=True)
    ):
        progress.report("speak", number / len(begins), stretch.text[:60])
        start = max(begin, line.seconds)
        pieces = _fitting(reader, stretch, following - start - BREATH_SECONDS)
        if not pieces:
            continue
        line.wait(start - line.seconds)
        said_at = line.seconds
        late += said_at > begin + LATE_SECONDS
        for piece in pieces[:-1]:
            line.add(Piece(piece.waveform, piece.sample_rate, "", piece.pause_seconds))
        line.add(Piece(pieces[-1].waveform, reader.sample_rate, "", BREATH_SECONDS))
        line.cues.append(Cue(stretch.text, said_at, line.seconds - BREATH_SECONDS))
    if late:
        line.warnings.append(
            f"{late} of {len(begins)} subtitles begin later than their time: those before them are too long to be "
            f"said in theirs, even {MOST_HASTE:g} times as fast."
        )
    return line


def _fitting(reader: Reader, stretch: Stretch, room_seconds: float) -> list[Piece]:
    """A stretch in so much time, said up to :data:`MOST_HASTE` times as fast."""
    haste = 1.0
    pieces = list(reader.pieces(stretch, is_exact=True))
    # Twice: engines do not shorten a passage by just what they are asked for.
    for _ in range(2):
        length = sum(piece.seconds + piece.pause_seconds for piece in pieces[:-1])
        length += sum(piece.seconds for piece in pieces[-1:])
        if length <= room_seconds or haste >= MOST_HASTE:
            break
        haste = min(haste * 1.02 * length / room_seconds, MOST_HASTE) if room_seconds > 0 else MOST_HASTE
        counted = reader.unreadable
        pieces = list(reader.pieces(stretch, is_exact=True, haste=haste))
        reader.unreadable = counted
    return pieces


def _shifted(waveform: FloatArray, sample_rate: int, semitones: float) -> FloatArray:
    try:
        from ultimate_rvc.audio.transpose import transpose
    except ImportError as error:  # no wheel of it for Linux on ARM
        raise SpeechError("A pitch in SSML needs the package python-stretch, which is not here.") from error
    return transpose(waveform, sample_rate, semitones)


def _without_silence(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """A passage without what the engine leaves around it."""
    magnitude = np.abs(waveform)
    loud = np.flatnonzero(magnitude > SILENT_SHARE * magnitude.max(initial=0.0))
    if not loud.size:
        return waveform
    kept = round(KEPT_SECONDS * sample_rate)
    return waveform[max(int(loud[0]) - kept, 0) : int(loud[-1]) + kept]


def _joinable(waveform: FloatArray, sample_rate: int, gain_db: float = 0.0) -> FloatArray:
    """A passage at the common level, its ends faded."""
    level = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    if level < QUIETEST_RMS:
        return waveform
    gain = min(SPEECH_RMS / level * db_to_gain(gain_db), LOUDEST / float(np.abs(waveform).max()))
    result = waveform * np.float32(gain)
    edge = min(round(EDGE_SECONDS * sample_rate), len(result) // 2)
    ramp = np.linspace(0, 1, edge, dtype=np.float32)
    result[:edge] *= ramp
    result[len(result) - edge :] *= ramp[::-1]
    return result

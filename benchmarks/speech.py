"""How well and how fast text is said: words understood, likeness to the voice, real-time factors, as Markdown.

    python benchmarks/speech.py [--voice starter] [--semitones -2 0 2] [--index-rate 0 0.3] [--speaker heart]

The whole text is read and converted once, as ``urvc generate speech`` does it, then cut at the times of its passages
for the judges of the quality bench (the extra ``quality``; docs/quality.md). Likeness is to the voice's own speech,
for our voices the synthesiser that they were made from (docs/starter-voices.md). Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from quality import OWN_VOICES, Parser, bench_conditions, tell
from quality_judges import FloatArray, Judgement, Judges, cosine, require_packages
from quality_material import Shelf, parse_speaker, spoken
from quality_measures import normalised_words, word_errors
from quality_scores import VoiceMeans
from quality_sentences import EXCERPTS, SENTENCES
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.choices import Device, SpeechEngineName
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.paths import cache_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.reading import Reader, Speech, read_aloud, read_pieces
from ultimate_rvc.speech.script import Chapter, Stretch
from ultimate_rvc.speech.streaming import portions
from ultimate_rvc.voices.library import find_voice

TEXTS = (*SENTENCES, *(excerpt.text for excerpt in EXCERPTS))  # 555 words
JUDGES_RATE = 16_000
AROUND_SECONDS = 0.1  # kept around a passage: a voice may begin a little before its source
PAUSE_SECONDS = 0.4


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    name: str
    words: int
    errors: int
    similarity: float
    dnsmos: float
    rtf: float

    @property
    def line(self) -> str:
        """Its cells."""
        return (
            f"| {self.name} | {100 * self.errors / self.words:.1f} % ({self.errors} of {self.words}) "
            f"| {self.similarity:.3f} | {self.dnsmos:.2f} | {self.rtf:.3f} |"
        )


class Bench:
    """Judges speech by its passages."""

    def __init__(self, voice: str) -> None:
        folder = cache_dir() / "quality"
        self._judges = Judges(folder / "judgements", 1)
        self._target: VoiceMeans | None = None
        if voice in OWN_VOICES:
            tell(f"listening to {OWN_VOICES[voice]}")
            shelf, target = Shelf(folder / "material"), parse_speaker(OWN_VOICES[voice])
            heard = {text: self._judges.judge(spoken(shelf, target, text)) for text in TEXTS}
            self._target = VoiceMeans({text: np.asarray(each.embedding) for text, each in heard.items()})

    def row(self, name: str, speech: Speech, waveform: FloatArray, sample_rate: int, seconds: float) -> Row:
        """Figures of ``waveform`` (samples,), which says ``speech`` at its times."""
        sound = resample(waveform, sample_rate, JUDGES_RATE)
        judged = [(cue.text, self._judges.judge(_cut(sound, cue.begin, cue.end))) for cue in speech.cues]
        pairs = [(normalised_words(text), normalised_words(each.transcript)) for text, each in judged]
        return Row(
            name,
            sum(len(said) for said, _ in pairs),
            sum(word_errors(said, understood) for said, understood in pairs),
            self._similarity(judged),
            float(np.mean([each.dnsmos_overall for _, each in judged])),
            seconds / (len(waveform) / sample_rate),
        )

    def _similarity(self, judged: Sequence[tuple[str, Judgement]]) -> float:
        if self._target is None:
            return float("nan")
        pairs = [(np.asarray(each.embedding), self._target.without(text)) for text, each in judged]
        return float(np.mean([cosine(own, target) for own, target in pairs]))


def _cut(sound: FloatArray, begin: float, end: float) -> FloatArray:
    low, high = max(begin - AROUND_SECONDS, 0.0), end + AROUND_SECONDS
    return sound[round(low * JUDGES_RATE) : round(high * JUDGES_RATE)]


def parser() -> argparse.ArgumentParser:
    parser = Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--voice", default="starter", help="a voice of the library, or a voice file (default starter)")
    add("--engine", type=SpeechEngineName, choices=list(SpeechEngineName), default=SpeechEngineName.AUTO)
    add("--speaker", help="who reads (default: the engine's usual one)")
    add("--semitones", type=int, nargs="+", default=[0], help="shifts to measure")
    add("--index-rate", type=float, nargs="+", default=[ConversionSettings.index_rate], help="to measure")
    add("--protect-rate", type=float, nargs="+", default=[ConversionSettings.protect_rate], help="to measure")
    add("--device", default=Device.AUTO, help="to convert on")
    return parser


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    require_packages()
    bench = Bench(options.voice)
    reader = Reader(choose(options.engine, options.speaker, "en" if options.speaker is None else None))
    chapter = Chapter(tuple(Stretch(text, pause_seconds=PAUSE_SECONDS) for text in TEXTS), is_exact=True)
    voice = find_voice(options.voice)
    pipeline = Pipeline.open(
        voice.model_path, ConversionSettings(), index_path=voice.index_path, device=options.device
    )
    tell("reading")
    list(read_pieces(Chapter(chapter.stretches[:1]), reader, Progress()))  # loads the engine
    started = time.perf_counter()
    speech = read_aloud(chapter, reader, Progress())
    reading = time.perf_counter() - started
    rows = [
        bench.row(f"{reader.cast.speaker.name} alone", speech, speech.waveform, speech.sample_rate, reading)
    ]
    pipeline.convert(speech.waveform[: 5 * speech.sample_rate], speech.sample_rate, ConversionSettings())
    for semitones, index, protect in product(options.semitones, options.index_rate, options.protect_rate):
        name = f"{options.voice}, {semitones:+d} semitones, index {index:g}, protect {protect:g}"
        tell(name)
        settings = ConversionSettings(n_semitones=semitones, index_rate=index, protect_rate=protect)
        started = time.perf_counter()
        waveform, rate = pipeline.convert(speech.waveform, speech.sample_rate, settings)
        rows.append(bench.row(name, speech, waveform, rate, reading + time.perf_counter() - started))
    show(rows, speech, _first_sound(chapter, reader, pipeline))


def _first_sound(chapter: Chapter, reader: Reader, pipeline: Pipeline) -> float:
    """Seconds until the first portion of a stream is there, everything loaded."""
    started = time.perf_counter()
    first = next(portions(read_pieces(chapter, reader, Progress())))
    pipeline.convert(first, reader.sample_rate, ConversionSettings())
    return time.perf_counter() - started


def show(rows: Sequence[Row], speech: Speech, first_sound: float) -> None:
    """The table and what it was measured on."""
    print("| who speaks | word errors | likeness to the voice | DNSMOS | RTF, whole path |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(row.line)
    seconds = len(speech.waveform) / speech.sample_rate
    print(f"\n{len(TEXTS)} passages, {seconds:.0f} s. First sound of a stream after {first_sound:.2f} s.")
    for name, value in bench_conditions().items():
        print(f"- {name}: {value}")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    try:
        run(options)
    except UltimateRVCError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

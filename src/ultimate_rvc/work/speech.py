"""The work ``speech``: a text or document read aloud by an engine, then once through a voice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.loudness import at_loudness
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import SettingError, SpeechError
from ultimate_rvc.outputs import Outputs, Target, file_title, place
from ultimate_rvc.paths import output_dir
from ultimate_rvc.progress import StepTime
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.documents import chapters_of, chapters_of_file
from ultimate_rvc.speech.reading import Line, Piece, Reader, Speech, read_aloud, read_pieces
from ultimate_rvc.speech.script import Chapter, joined
from ultimate_rvc.speech.spoken import read_lexicon
from ultimate_rvc.speech.streaming import portions
from ultimate_rvc.speech.subtitles import written
from ultimate_rvc.switches import ResolvedConfig
from ultimate_rvc.voices.library import VoiceRef, find_voice
from ultimate_rvc.work.heard import publish
from ultimate_rvc.work.requests import SpeechRequest, input_paths, written_format
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.sound import write
from ultimate_rvc.work.workbench import Workbench

FloatArray = NDArray[np.float32]

TITLE_WORDS = 6


@dataclass(frozen=True)
class Task:
    """A chapter and where its sound and subtitles go."""

    chapter: Chapter
    sound: Target
    subtitles: Target | None


@dataclass(frozen=True)
class Voiced:
    """A chapter in the voice."""

    speech: Speech
    """As the engine read it."""
    waveform: FloatArray
    sample_rate: int


def speak(request: SpeechRequest, bench: Workbench) -> WorkResult:
    """Passages are joined before the voice takes over: one long conversion is faster than many short ones."""
    voice = find_voice(request.voice) if request.voice is not None else None
    chapters = _chapters(request)
    tasks = _plan(request, chapters, voice)
    resolved = bench.optimization(request.optimization)
    lexicon = read_lexicon(request.lexicon) if request.lexicon is not None else {}
    cast = choose(request.engine, request.speaker, request.language)
    reader = Reader(cast, request.rate, request.conversion.seed, lexicon, request.consent)
    for chapter in chapters:
        reader.check(chapter)
    pipeline = _opened(request, voice, resolved, bench) if voice is not None else None
    files: list[ResultFile] = []
    length, sample_rate = 0.0, 0
    for task in tasks:
        is_streamed = bench.is_heard and len(tasks) == 1 and not task.chapter.is_timed
        voiced = (_in_portions if is_streamed else _at_once)(task.chapter, reader, pipeline, request, bench)
        bench.warn(*voiced.speech.warnings)
        length += len(voiced.speech.waveform) / voiced.speech.sample_rate
        sample_rate = voiced.sample_rate
        with bench.step("write"):
            files += _written(request, task, voiced, bench)
    return bench.result(
        files,
        device=str(pipeline.device) if pipeline is not None else "cpu",
        precision=resolved.config.precision,
        facts={
            "voice": voice.name if voice is not None else None,
            "speaker": cast.speaker.name,
            "language": cast.speaker.language,
            "sample_rate": sample_rate,
            "duration_seconds": length,
            "elapsed_seconds": sum(step.seconds for step in bench.steps),
            "characters": sum(chapter.characters for chapter in chapters),
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )


def _at_once(
    chapter: Chapter, reader: Reader, pipeline: Pipeline | None, request: SpeechRequest, bench: Workbench
) -> Voiced:
    """All of it read, then all of it converted: the times of subtitles stay."""
    with bench.step("speak"):
        speech = read_aloud(chapter, reader, bench.progress)
    if pipeline is None:
        return Voiced(speech, speech.waveform, speech.sample_rate)
    with bench.step("convert"):
        progress = bench.progress.part("convert", 0, 1)
        waveform, rate = pipeline.convert(speech.waveform, speech.sample_rate, request.conversion, progress)
    return Voiced(speech, waveform, rate)


def _in_portions(
    chapter: Chapter, reader: Reader, pipeline: Pipeline | None, request: SpeechRequest, bench: Workbench
) -> Voiced:
    """Portion by portion, each to be heard while the next is made."""
    line = Line(reader)
    reading = bench.progress.part("convert" if pipeline is not None else "speak", 0, 1)

    def kept() -> Iterator[Piece]:
        for piece in read_pieces(chapter, reader, reading):
            line.add(piece)
            yield piece

    made: list[FloatArray] = []
    converting, started = 0.0, time.perf_counter()
    sample_rate = 0
    for portion in portions(kept()):
        sample_rate = reader.sample_rate
        if pipeline is not None:
            began = time.perf_counter()
            bench.progress.check()
            portion, sample_rate = pipeline.convert(portion, sample_rate, request.conversion)
            converting += time.perf_counter() - began
        publish(bench.folder, len(made), portion, sample_rate)
        made.append(portion)
    bench.steps.append(StepTime("speak", time.perf_counter() - started - converting))
    if pipeline is not None:
        bench.steps.append(StepTime("convert", converting))
    speech = line.speech()
    return Voiced(speech, np.concatenate(made), sample_rate)


def _chapters(request: SpeechRequest) -> tuple[Chapter, ...]:
    """What is read, in one chapter unless each is to have a file."""
    if request.document is not None:
        chapters = chapters_of_file(request.document, request.text_format)
    else:
        chapters = chapters_of(request.text or "", request.text_format)
    if not chapters:
        raise SpeechError("There is nothing in the text that can be read aloud.")
    return chapters if request.split_chapters else (joined(chapters),)


def _opened(request: SpeechRequest, voice: VoiceRef, resolved: ResolvedConfig, bench: Workbench) -> Pipeline:
    bench.warn(*voice.warnings)
    with bench.step("load voice"):
        return bench.pipelines.open(
            voice.model_path,
            request.conversion,
            index_path=request.index_path or voice.index_path,
            optimization=resolved.config,
        )


def _written(request: SpeechRequest, task: Task, voiced: Voiced, bench: Workbench) -> Iterator[ResultFile]:
    """A chapter, as loud as asked for, in its files."""
    waveform, sample_rate = voiced.waveform, voiced.sample_rate
    if request.loudness_lufs is not None:
        waveform = at_loudness(waveform, sample_rate, request.loudness_lufs)
    yield write(bench, waveform, sample_rate, task.sound, role="speech", bitrate_kbps=request.bitrate_kbps)
    if task.subtitles is not None and request.subtitles is not None:
        finished = bench.folder / "subtitles"
        finished.write_text(written(voiced.speech.cues, request.subtitles), encoding="utf-8")
        placed = place(finished, task.subtitles)
        bench.warn(*placed.warnings)
        yield ResultFile("subtitles", placed.path)


# ------------------------------------------------------------------ which file goes where


def _plan(request: SpeechRequest, chapters: tuple[Chapter, ...], voice: VoiceRef | None) -> list[Task]:
    """Where each chapter goes, checked before any work."""
    read = [*input_paths(request), *((voice.model_path, voice.index_path) if voice is not None else ())]
    outputs = Outputs(read, request.overwrite)
    tasks = []
    for sound, chapter in zip(_targets(request, chapters, voice, outputs), chapters, strict=True):
        subtitles = None
        if request.subtitles is not None:
            path = sound.path
            subtitles = outputs.made(
                path.parent,
                path.stem,
                "",
                f".{request.subtitles}",
                source=request.document,
                ours=sound.is_named,
            )
        tasks.append(Task(chapter, sound, subtitles))
    return tasks


def _targets(
    request: SpeechRequest, chapters: tuple[Chapter, ...], voice: VoiceRef | None, outputs: Outputs
) -> Iterator[Target]:
    """The file that was named, else files called after the document or the first words."""
    if request.output is not None and not request.split_chapters:
        yield outputs.named_file(request.output)
        return
    is_format = request.output is not None and request.output.suffix.lower().removeprefix(".") in set(
        AudioFormat
    )
    if is_format:
        raise SettingError(
            f"output {request.output} is one file, but each chapter has its own; name a folder.", "output"
        )
    folder = outputs.folder(request.output, output_dir())
    audio_format = (
        request.output_format if request.split_chapters else written_format(request, AudioFormat.WAV)
    )
    suffix = f".{audio_format or AudioFormat.WAV}"
    named = request.output_name or (request.document.stem if request.document is not None else None)
    whole = file_title(named or title_of(chapters[0].stretches[0].text))
    tail = f" ({file_title(voice.name)})" if voice is not None and request.output_name is None else ""
    if not request.split_chapters:
        yield outputs.made(folder, whole, tail, suffix, ours=False)
        return
    digits = max(len(str(len(chapters))), 2)
    for number, chapter in enumerate(chapters, 1):
        title = f" {file_title(chapter.title)}" if chapter.title else ""
        yield outputs.made(folder, f"{whole} - {number:0{digits}}{title}", tail, suffix, ours=False)


def title_of(text: str) -> str:
    """The first words of a text."""
    return " ".join(text.split()[:TITLE_WORDS])[:60].rstrip(".,;:!?") or "speech"

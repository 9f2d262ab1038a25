"""The work ``speech``: a text or document read aloud by an engine, then once through a voice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ultimate_rvc.audio.loudness import at_loudness
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import SettingError, SpeechError
from ultimate_rvc.outputs import Outputs, Target, file_title, place
from ultimate_rvc.paths import output_dir
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.speech.choosing import choose
from ultimate_rvc.speech.documents import chapters_of, chapters_of_file
from ultimate_rvc.speech.reading import Reader, Speech, read_aloud
from ultimate_rvc.speech.script import Chapter, joined
from ultimate_rvc.speech.spoken import read_lexicon
from ultimate_rvc.speech.subtitles import written
from ultimate_rvc.switches import ResolvedConfig
from ultimate_rvc.voices.library import VoiceRef, find_voice
from ultimate_rvc.work.requests import SpeechRequest, input_paths, written_format
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.sound import write
from ultimate_rvc.work.workbench import Workbench

TITLE_WORDS = 6


@dataclass(frozen=True)
class Task:
    """A chapter and where its sound and subtitles go."""

    chapter: Chapter
    sound: Target
    subtitles: Target | None


def speak(request: SpeechRequest, bench: Workbench) -> WorkResult:
    """Passages are joined before the voice takes over: one long conversion is faster than many short ones."""
    voice = find_voice(request.voice) if request.voice is not None else None
    chapters = _chapters(request)
    tasks = _plan(request, chapters, voice)
    resolved = bench.optimization(request.optimization)
    lexicon = read_lexicon(request.lexicon) if request.lexicon is not None else {}
    cast = choose(request.engine, request.speaker, request.language)
    reader = Reader(cast, request.rate, request.conversion.seed, lexicon)
    pipeline = None
    files: list[ResultFile] = []
    facts = {"sample_rate": 0, "duration_seconds": 0.0}
    for task in tasks:
        with bench.step("speak"):
            speech = read_aloud(task.chapter, reader, bench.progress)
        bench.warn(*speech.warnings)
        if voice is not None and pipeline is None:
            pipeline = _opened(request, voice, resolved, bench)
        facts["duration_seconds"] += len(speech.waveform) / speech.sample_rate
        files += _finished(request, task, speech, pipeline, bench)
        facts["sample_rate"] = pipeline.voice.sample_rate if pipeline is not None else speech.sample_rate
    seconds = sum(step.seconds for step in bench.steps)
    return bench.result(
        files,
        device=str(pipeline.device) if pipeline is not None else "cpu",
        precision=resolved.config.precision,
        facts={
            "voice": voice.name if voice is not None else None,
            "speaker": cast.speaker.name,
            "language": cast.speaker.language,
            **facts,
            "elapsed_seconds": seconds,
            "characters": sum(chapter.characters for chapter in chapters),
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )


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


def _finished(
    request: SpeechRequest, task: Task, speech: Speech, pipeline: Pipeline | None, bench: Workbench
) -> Iterator[ResultFile]:
    """The chapter in the voice, as loud as asked for, in its files."""
    waveform, sample_rate = speech.waveform, speech.sample_rate
    if pipeline is not None:
        with bench.step("convert"):
            progress = bench.progress.part("convert", 0, 1)
            waveform, sample_rate = pipeline.convert(waveform, sample_rate, request.conversion, progress)
    with bench.step("write"):
        if request.loudness_lufs is not None:
            waveform = at_loudness(waveform, sample_rate, request.loudness_lufs)
        sound = write(
            bench, waveform, sample_rate, task.sound, role="speech", bitrate_kbps=request.bitrate_kbps
        )
        yield sound
        if task.subtitles is not None and request.subtitles is not None:
            finished = bench.folder / "subtitles"
            finished.write_text(written(speech.cues, request.subtitles), encoding="utf-8")
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

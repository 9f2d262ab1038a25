"""The work ``convert``: files and folders through one voice; a bad file does not cost the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.audio.found import audio_files
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.outputs import Ours, Outputs, Target, file_title, format_of, is_ours, place
from ultimate_rvc.paths import output_dir
from ultimate_rvc.progress import Progress, ViewOfProgress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.stages import conversion_share
from ultimate_rvc.voices.library import VoiceRef, find_voice
from ultimate_rvc.work.apart import Converted, convert_apart, sentence_with
from ultimate_rvc.work.requests import ConvertRequest, input_paths
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.sound import Put, expected_bytes, write
from ultimate_rvc.work.workbench import Workbench

# Files whose chunks may share batches, together: all of their audio is held in memory at once.
GROUP_SECONDS = 600.0
SHOWN_SENTENCES = 10  # where not one file could be converted


@dataclass(frozen=True)
class Found:
    """A file to convert."""

    path: Path
    folder: Path | None = None
    """The folder that was searched, if the user did not name the file itself."""

    @property
    def subfolder(self) -> Path:
        return Path() if self.folder is None else self.path.parent.relative_to(self.folder)


@dataclass(frozen=True)
class Task:
    """A file and where its conversion goes."""

    source: Path
    target: Target


@dataclass(frozen=True)
class Outcome:
    """What became of a file; ``error`` is the sentence that says why there is no result."""

    source: Path
    file: ResultFile | None = None
    audio_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    shift_semitones: int = 0
    error: str | None = None


def convert(request: ConvertRequest, bench: Workbench) -> WorkResult:
    resolved = bench.optimization(request.optimization)
    voice = find_voice(request.voice)
    bench.warn(*voice.warnings)
    tasks = plan(request, voice)
    opened = bench.pipelines.opened
    with bench.step("load voice"):
        pipeline = bench.pipelines.open(
            voice.model_path,
            request.conversion,
            index_path=request.index_path or voice.index_path,
            optimization=resolved.config,
        )
    pipeline.profiler.reset()
    outcomes: list[Outcome] = []
    with bench.step("convert"):
        for group in plan_groups(tasks, resolved.config.batch_size):
            progress = _GroupProgress(bench.progress, len(outcomes), len(tasks), group)
            outcomes += convert_group(pipeline, group, request, bench, progress)
    refuse_nothing(outcomes)
    return bench.result(
        (outcome.file for outcome in outcomes if outcome.file),
        device=str(pipeline.device),
        precision=str(pipeline.precision.dtype).removeprefix("torch."),
        facts={
            "voice": voice.name,
            "was_loaded": bench.pipelines.opened > opened,
            "sample_rate": pipeline.voice.sample_rate,
            **facts_of(outcomes),
            "stages": [
                {"name": stage.name, "seconds": stage.seconds} for stage in pipeline.profiler.report()
            ],
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )


def refuse_nothing(outcomes: Sequence[Outcome]) -> None:
    """Raise :class:`AudioError` with what is wrong with the files, if not one of them was converted."""
    if any(outcome.file for outcome in outcomes):
        return
    sentences = [outcome.error for outcome in outcomes if outcome.error]
    more = len(sentences) - SHOWN_SENTENCES
    raise AudioError(
        " ".join(sentences[:SHOWN_SENTENCES])
        + (f" {more} more files could not be converted either." if more > 0 else "")
    )


def facts_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What a result says of its files: seconds of audio, shifts, ``converted`` and ``failed``."""
    converted = [outcome for outcome in outcomes if outcome.file is not None]
    return {
        "duration_seconds": sum(outcome.audio_seconds for outcome in converted),
        "shifts_semitones": [outcome.shift_semitones for outcome in converted],
        "converted": [
            {
                "source": str(outcome.source),
                "output": str(outcome.file.path),
                "audio_seconds": outcome.audio_seconds,
                "elapsed_seconds": outcome.elapsed_seconds,
            }
            for outcome in converted
            if outcome.file
        ],
        "failed": [
            {"source": str(outcome.source), "error": outcome.error} for outcome in outcomes if outcome.error
        ],
    }


# ------------------------------------------------------------------ which file goes where


def plan(request: ConvertRequest, voice: VoiceRef, ours: Ours = is_ours) -> list[Task]:
    """Which file goes where, checked before any work.

    Subfolders of a folder are kept. Files of one name tell themselves apart by their suffixes, so that a second
    run writes the same names for the same sources. ``ours`` says whether the program made a file from a source.

    Raises
    ------
    SettingError, AudioError
        The output cannot be that, a file is not there, a folder holds no audio.
    """
    found = list(_found(request.sources))
    read = [*input_paths(request), voice.model_path, voice.index_path, request.index_path]
    outputs = Outputs([*read, *(each.path for each in found)], request.overwrite, ours=ours)
    if (named := _named_file(request, found)) is not None:
        format_of(named, request.output_format)
        return [Task(found[0].path, outputs.named_file(named, needs_bytes=expected_bytes(found[0].path)))]
    folder = outputs.folder(
        request.output, output_dir(), needs_bytes=sum(expected_bytes(each.path) for each in found)
    )
    tail = f" ({file_title(voice.name)})"
    suffix = f".{request.output_format or AudioFormat.WAV}"
    found = _without_earlier_results(found, folder, tail, suffix, ours)
    outputs = Outputs([*read, *(each.path for each in found)], request.overwrite, ours=ours)
    names: dict[str, set[str]] = {}
    for each in found:
        names.setdefault(_place(each), set()).add(each.path.name)
    return [
        Task(
            each.path,
            outputs.made(
                folder / each.subfolder,
                each.path.stem if len(names[_place(each)]) == 1 else each.path.name,
                tail,
                suffix,
                source=each.path,
                ours=request.output is not None,
            ),
        )
        for each in found
    ]


def _place(found: Found) -> str:
    """Alike for files that would have one name but for their suffixes."""
    return str(found.subfolder / found.path.stem).casefold()


def _named_file(request: ConvertRequest, found: Sequence[Found]) -> Path | None:
    """The output where it is a file and no folder."""
    output = request.output
    if output is None or output.is_dir() or not output.suffix:
        return None
    is_format = output.suffix.lower().removeprefix(".") in set(AudioFormat)
    several = len(found) > 1 or any(each.folder is not None for each in found)
    if several and is_format:
        raise SettingError(
            f"output {output} is one file, but there are {len(found)} to convert; name a folder.", "output"
        )
    return None if several else output


def _found(sources: Sequence[Path]) -> Iterator[Found]:
    seen = set()
    for source in sources:
        if source.is_dir():
            if not (inside := audio_files(source, recursive=True)):
                raise AudioError(f"The folder {source} holds no audio files; name the files themselves.")
            files = [Found(path, source) for path in inside]
        elif source.exists():
            files = [Found(source)]
        else:
            raise AudioError(f"There is no file {source}; check its name.")
        for found in files:
            if (real := found.path.resolve()) not in seen:  # a file that was named and lies in a folder too
                seen.add(real)
                yield found


def _without_earlier_results(
    found: Sequence[Found], folder: Path, tail: str, suffix: str, ours: Ours
) -> list[Found]:
    """Leave out what an earlier run made of the others: a folder may be converted into itself."""
    results = {
        path.resolve()
        for each in found
        for stem in (each.path.stem, each.path.name)
        if ours(path := folder / each.subfolder / f"{stem}{tail}{suffix}", each.path)
    }
    return [each for each in found if each.folder is None or each.path.resolve() not in results]


# ------------------------------------------------------------------ converting


def plan_groups(tasks: Sequence[Task], batch_size: int | Literal["auto"]) -> list[list[Task]]:
    """Which files are converted together, in their order; each alone where a batch is one chunk."""
    if batch_size == 1:
        return [[task] for task in tasks]
    groups: list[list[Task]] = []
    room_seconds = 0.0
    for task in tasks:
        seconds = _seconds(task.source)
        if not groups or seconds > room_seconds:
            groups.append([])
            room_seconds = GROUP_SECONDS
        groups[-1].append(task)
        room_seconds -= seconds
    return groups


def _seconds(source: Path) -> float:
    try:
        return probe(source).duration_seconds
    except AudioError:  # told when the file is converted
        return 0.0


def convert_group(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    request: ConvertRequest,
    bench: Workbench,
    progress: Progress,
    put: Put = place,
) -> list[Outcome]:
    """Convert files that share batches and ``put`` them in their places.

    One bad file among many does not cost the others.
    """
    sources = [task.source for task in tasks]
    converted = convert_apart(pipeline, sources, request.conversion, progress)
    rate = pipeline.voice.sample_rate
    return [
        failed(task, made, bench)
        if isinstance(made, AudioError)
        else _write(task, made, rate, request, bench, put)
        for task, made in zip(tasks, converted, strict=True)
    ]


def _write(
    task: Task, made: Converted, rate: int, request: ConvertRequest, bench: Workbench, put: Put
) -> Outcome:
    try:
        file = write(
            bench, made.waveform, rate, task.target,
            role="converted", bitrate_kbps=request.bitrate_kbps, source=task.source, put=put,
        )  # fmt: skip
    except AudioError as error:
        return failed(task, error, bench)
    return Outcome(task.source, file, made.audio_seconds, made.elapsed_seconds, made.shift_semitones)


def failed(task: Task, error: Exception, bench: Workbench) -> Outcome:
    """The outcome of a file that cannot be converted, which is warned of under its name."""
    sentence = sentence_with(task.source, error)
    bench.warn(sentence)
    return Outcome(task.source, error=sentence)


class _GroupProgress(ViewOfProgress):
    """Shows the stages of some files of several as their part of the step ``convert``."""

    def __init__(self, parent: Progress, done: int, count: int, group: Sequence[Task]) -> None:
        super().__init__(parent)
        self._done, self._count, self._size = done, count, len(group)
        last = done + len(group)
        numbers = f"{last}" if len(group) == 1 else f"{done + 1}-{last}"
        name = group[0].source.name
        self._text = name if count == 1 else f"{numbers}/{count} {name}"

    def report(self, step: str, fraction: float, text: str = "") -> None:
        share = conversion_share(step, fraction)
        self._parent.report("convert", (self._done + share * self._size) / self._count, self._text)

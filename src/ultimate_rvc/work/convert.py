"""The work ``convert``: files and folders through one voice; a bad file does not cost the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import decode, probe
from ultimate_rvc.audio.found import audio_files
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import AudioError, SettingError
from ultimate_rvc.outputs import Outputs, Target, file_title, format_of, is_ours
from ultimate_rvc.paths import output_dir
from ultimate_rvc.progress import Progress, ViewOfProgress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.stages import conversion_share
from ultimate_rvc.voices.library import VoiceRef, find_voice
from ultimate_rvc.work.requests import ConvertRequest, input_paths
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.sound import expected_bytes, write
from ultimate_rvc.work.workbench import Workbench

# Files whose chunks may share batches, together: all of their audio is held in memory at once.
GROUP_SECONDS = 600.0

FloatArray = NDArray[np.float32]


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
class _Outcome:
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
    outcomes: list[_Outcome] = []
    with bench.step("convert"):
        for group in plan_groups(tasks, resolved.config.batch_size):
            progress = _GroupProgress(bench.progress, len(outcomes), len(tasks), group)
            outcomes += _convert_group(pipeline, group, request, bench, progress)
    converted = [outcome for outcome in outcomes if outcome.file is not None]
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    if not converted:
        raise AudioError(" ".join(outcome.error for outcome in failures if outcome.error))
    return bench.result(
        (outcome.file for outcome in converted if outcome.file),
        device=str(pipeline.device),
        precision=str(pipeline.precision.dtype).removeprefix("torch."),
        facts={
            "voice": voice.name,
            "was_loaded": bench.pipelines.opened > opened,
            "sample_rate": pipeline.voice.sample_rate,
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
            "failed": [{"source": str(outcome.source), "error": outcome.error} for outcome in failures],
            "stages": [
                {"name": stage.name, "seconds": stage.seconds} for stage in pipeline.profiler.report()
            ],
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )


# ------------------------------------------------------------------ which file goes where


def plan(request: ConvertRequest, voice: VoiceRef) -> list[Task]:
    """Which file goes where, checked before any work.

    Subfolders of a folder are kept. Files of one name tell themselves apart by their suffixes, so that a second
    run writes the same names for the same sources.

    Raises
    ------
    SettingError, AudioError
        The output cannot be that, a file is not there, a folder holds no audio.
    """
    found = list(_found(request.sources))
    read = [*input_paths(request), voice.model_path, voice.index_path, request.index_path]
    outputs = Outputs([*read, *(each.path for each in found)], request.overwrite)
    if (named := _named_file(request, found)) is not None:
        format_of(named, request.output_format)
        return [Task(found[0].path, outputs.named_file(named, needs_bytes=expected_bytes(found[0].path)))]
    folder = outputs.folder(
        request.output, output_dir(), needs_bytes=sum(expected_bytes(each.path) for each in found)
    )
    tail = f" ({file_title(voice.name)})"
    suffix = f".{request.output_format or AudioFormat.WAV}"
    found = _without_earlier_results(found, folder, tail, suffix)
    outputs = Outputs([*read, *(each.path for each in found)], request.overwrite)
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


def _without_earlier_results(found: Sequence[Found], folder: Path, tail: str, suffix: str) -> list[Found]:
    """Leave out what an earlier run made of the others: a folder may be converted into itself."""
    results = {
        path.resolve()
        for each in found
        for stem in (each.path.stem, each.path.name)
        if is_ours(path := folder / each.subfolder / f"{stem}{tail}{suffix}", each.path)
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


def _convert_group(
    pipeline: Pipeline, tasks: Sequence[Task], request: ConvertRequest, bench: Workbench, progress: Progress
) -> list[_Outcome]:
    """Convert files that share batches; one bad file among many does not cost the others."""
    started = time.perf_counter()
    try:
        recordings = [decode(task.source) for task in tasks]
        voices = pipeline.convert_all(recordings, request.conversion, progress)
    except AudioError as error:
        if len(tasks) == 1:
            return [_failed(tasks[0], error, bench)]
        # Audio is refused before any of it is converted, so looking for the bad file costs little.
        middle = len(tasks) // 2
        return [
            outcome
            for half in (tasks[:middle], tasks[middle:])
            for outcome in _convert_group(pipeline, half, request, bench, progress)
        ]
    shifts = pipeline.shifts_semitones
    lengths = [waveform.shape[-1] / sample_rate for waveform, sample_rate in recordings]
    rate = pipeline.voice.sample_rate
    written = [_write(task, sung, rate, request, bench) for task, sung in zip(tasks, voices, strict=True)]
    # A file's own time is not known where files share batches: its share by length is given.
    per_second = (time.perf_counter() - started) / sum(lengths)
    return [
        replace(outcome, audio_seconds=seconds, elapsed_seconds=seconds * per_second, shift_semitones=shift)
        for outcome, seconds, shift in zip(written, lengths, shifts, strict=True)
    ]


def _write(task: Task, sung: FloatArray, rate: int, request: ConvertRequest, bench: Workbench) -> _Outcome:
    try:
        file = write(
            bench, sung, rate, task.target,
            role="converted", bitrate_kbps=request.bitrate_kbps, source=task.source,
        )  # fmt: skip
    except AudioError as error:
        return _failed(task, error, bench)
    return _Outcome(task.source, file)


def _failed(task: Task, error: AudioError, bench: Workbench) -> _Outcome:
    name, sentence = task.source.name, str(error)
    if name not in sentence:  # what is wrong with samples is said without knowing their file
        sentence = f"{name}: {sentence}"
    bench.warn(sentence)
    return _Outcome(task.source, error=sentence)


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

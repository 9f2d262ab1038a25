"""``urvc generate convert-voice``: files and folders through one voice, loaded once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ultimate_rvc.audio.found import audio_files
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import (
    progress_bar,
    show_json,
    show_optimization,
    show_table,
    show_warning,
)
from ultimate_rvc.cli.profiling import profile_shown
from ultimate_rvc.errors import AudioError, SettingError, UltimateRVCError
from ultimate_rvc.rvc.infer.settings import ConversionSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ultimate_rvc.progress import Progress
    from ultimate_rvc.rvc.infer.pipeline import Pipeline

    FloatArray = NDArray[np.float32]

# Files whose chunks may share batches, together: all of their audio is held in memory at once.
GROUP_SECONDS = 600.0


@dataclass(frozen=True)
class Job:
    source: Path
    output: Path


@dataclass(frozen=True)
class _Outcome:
    """What became of a file; ``error`` is the sentence that says why there is no output."""

    job: Job
    audio_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    error: str | None = None


@options.takes_conversion("voice")
@options.takes_optimization
def convert_voice(
    asked: Mapping[str, Any],
    switches: Mapping[str, object],
    voice_tracks: Annotated[list[Path], typer.Argument(help="Files to convert; folders are searched.")],
    model: options.Model = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write for one track, folder for several; left out: the output folder.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    index: options.Index = None,
    output_format: options.OutputFormat = None,
    bitrate: options.Bitrate = None,
    as_json: options.AsJson = False,
) -> None:
    """Convert speech or singing without accompaniment to a voice.

    Example: urvc generate convert-voice take1.wav take2.wav --model "my voice" --output converted
    """
    if model is None:
        raise SettingError("--model is missing: a voice's name, or a .pth or .safetensors file.")
    optimization = options.optimization_in_force(switches)
    from ultimate_rvc.rvc.infer.pipeline import Pipeline
    from ultimate_rvc.voices.library import find_voice

    voice = find_voice(model)
    for warning in voice.warnings:
        show_warning(warning)
    conversion = ConversionSettings(**voice.preset.fill(asked))
    jobs = plan_jobs(voice_tracks, voice.name, output, output_format)
    outcomes: list[_Outcome] = []
    with profile_shown(optimization.config.enable_profiling), progress_bar() as progress:
        progress.report("load voice", 0.0)
        pipeline = Pipeline.open(
            voice.model_path,
            conversion,
            index_path=index or voice.index_path,
            optimization=optimization.config,
        )
        for group in plan_groups(jobs, optimization.config.batch_size):
            first, last = len(outcomes) + 1, len(outcomes) + len(group)
            numbers = f"{first}" if first == last else f"{first}-{last}"
            progress.report(f"{numbers}/{len(jobs)} {group[0].source.name}", 0.0)
            outcomes += _convert_group(pipeline, group, conversion, bitrate, progress)
    converted = [outcome for outcome in outcomes if outcome.error is None]
    failures = [
        {"source": str(outcome.job.source), "error": outcome.error} for outcome in outcomes if outcome.error
    ]
    if as_json:
        rows = [
            {
                "source": str(outcome.job.source),
                "output": str(outcome.job.output),
                "audio_seconds": outcome.audio_seconds,
                "elapsed_seconds": outcome.elapsed_seconds,
            }
            for outcome in converted
        ]
        report = {"voice": voice.name, "converted": rows, "failed": failures}
        show_json(report | {"optimization": [asdict(switch) for switch in optimization.switches]})
    else:
        if converted:
            show_table(
                ["converted", "audio", "took"],
                [
                    [str(file.job.output), f"{file.audio_seconds:.1f} s", f"{file.elapsed_seconds:.1f} s"]
                    for file in converted
                ],
            )
        show_optimization(optimization)
    if failures:
        raise UltimateRVCError(f"{len(failures)} of {len(jobs)} files could not be converted.")


def plan_jobs(
    tracks: Iterable[Path], voice: str, output: Path | None, output_format: AudioFormat | None
) -> list[Job]:
    """Which file goes where; two that would meet in one place are told apart by a number."""
    sources = list(_audio_files(tracks))
    is_file = output is not None and output.suffix.lower().removeprefix(".") in set(AudioFormat)
    if output is not None and is_file:
        if len(sources) > 1:
            raise SettingError(
                f"--output {output} is one file, but there are {len(sources)} tracks; name a folder."
            )
        if output_format is not None and output.suffix.lower() != f".{output_format}":
            raise SettingError(f"--output {output} and --output-format {output_format} disagree.")
        return [Job(sources[0], output)]
    from ultimate_rvc.paths import output_dir

    folder, suffix = output or output_dir(), output_format or AudioFormat.WAV
    jobs: list[Job] = []
    taken: set[Path] = set()
    for source in sources:
        target = folder / f"{source.stem} ({voice}).{suffix}"
        number = 1
        while target in taken or target.resolve() == source.resolve():
            target = folder / f"{source.stem} ({voice}) ({number}).{suffix}"
            number += 1
        taken.add(target)
        jobs.append(Job(source, target))
    return jobs


def _audio_files(tracks: Iterable[Path]) -> Iterable[Path]:
    for track in tracks:
        if track.is_dir():
            found = audio_files(track, recursive=True)
            if not found:
                raise AudioError(f"The folder {track} holds no audio files; name the files themselves.")
            yield from found
        elif track.exists():
            yield track
        else:
            raise AudioError(f"There is no file {track}; check its name.")


def plan_groups(jobs: Sequence[Job], batch_size: int | Literal["auto"]) -> list[list[Job]]:
    """Which files are converted together, in their order; each alone where a batch is one chunk."""
    if batch_size == 1:
        return [[job] for job in jobs]
    groups: list[list[Job]] = []
    room_seconds = 0.0
    for job in jobs:
        seconds = _seconds(job.source)
        if not groups or seconds > room_seconds:
            groups.append([])
            room_seconds = GROUP_SECONDS
        groups[-1].append(job)
        room_seconds -= seconds
    return groups


def _seconds(source: Path) -> float:
    from ultimate_rvc.audio.decode import probe

    try:
        return probe(source).duration_seconds
    except AudioError:  # told when the file is converted
        return 0.0


def _convert_group(
    pipeline: Pipeline,
    jobs: Sequence[Job],
    conversion: ConversionSettings,
    bitrate: int | None,
    progress: Progress,
) -> list[_Outcome]:
    """Convert files that share batches; one bad file among many does not cost the others."""
    from ultimate_rvc.audio.decode import decode

    started = time.perf_counter()
    try:
        recordings = [decode(job.source) for job in jobs]
        voices = pipeline.convert_all(recordings, conversion, progress)
    except AudioError as error:
        if len(jobs) == 1:
            return [_failed(jobs[0], error)]
        # Audio is refused before any of it is converted, so looking for the bad file costs little.
        middle = len(jobs) // 2
        halves = (jobs[:middle], jobs[middle:])
        return [
            outcome
            for half in halves
            for outcome in _convert_group(pipeline, half, conversion, bitrate, progress)
        ]
    lengths = [waveform.shape[-1] / sample_rate for waveform, sample_rate in recordings]
    rate = pipeline.voice.sample_rate
    written = [_write(job, voice, rate, bitrate) for job, voice in zip(jobs, voices, strict=True)]
    # A file's own time is not known where files share batches: its share by length is told.
    per_second = (time.perf_counter() - started) / sum(lengths)
    return [
        replace(outcome, audio_seconds=seconds, elapsed_seconds=seconds * per_second)
        for outcome, seconds in zip(written, lengths, strict=True)
    ]


def _write(job: Job, voice: FloatArray, sample_rate: int, bitrate: int | None) -> _Outcome:
    from ultimate_rvc.audio.encode import encode

    try:
        encode(job.output, voice, sample_rate, bitrate_kbps=bitrate)
    except AudioError as error:
        return _failed(job, error)
    return _Outcome(job)


def _failed(job: Job, error: AudioError) -> _Outcome:
    name, sentence = job.source.name, str(error)
    if name not in sentence:  # what is wrong with samples is told without knowing their file
        sentence = f"{name}: {sentence}"
    show_warning(sentence)
    return _Outcome(job, error=sentence)

"""``urvc generate convert-voice``: files and folders through one voice, loaded once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    from ultimate_rvc.progress import Progress
    from ultimate_rvc.rvc.infer.pipeline import Pipeline

# What a folder is searched for; a file named outright may be anything with audio in it.
AUDIO_SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".mp3",
        ".ogg",
        ".opus",
        ".m4a",
        ".aac",
        ".wma",
        ".aiff",
        ".aif",
        ".webm",
        ".mp4",
        ".mkv",
        ".mov",
        ".caf",
    ]
)


@dataclass(frozen=True)
class _Job:
    source: Path
    output: Path


@options.takes_conversion("voice")
@options.takes_optimization
def convert_voice(
    conversion: ConversionSettings,
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
    jobs = plan_jobs(voice_tracks, voice.name, output, output_format)
    rows, failures = [], []
    with profile_shown(optimization.config.enable_profiling), progress_bar() as progress:
        progress.report("load voice", 0.0)
        pipeline = Pipeline.open(
            voice.model_path,
            conversion,
            index_path=index or voice.index_path,
            optimization=optimization.config,
        )
        for number, job in enumerate(jobs, 1):
            progress.report(f"{number}/{len(jobs)} {job.source.name}", 0.0)
            started = time.perf_counter()
            try:
                seconds = _convert_file(pipeline, job, conversion, bitrate, progress)
            except AudioError as error:
                # One bad file among many should not cost the others.
                failures.append({"source": str(job.source), "error": str(error)})
                show_warning(str(error))
                continue
            rows.append((job, seconds, time.perf_counter() - started))
    results = [
        {
            "source": str(job.source),
            "output": str(job.output),
            "audio_seconds": audio,
            "elapsed_seconds": elapsed,
        }
        for job, audio, elapsed in rows
    ]
    if as_json:
        report = {"voice": voice.name, "converted": results, "failed": failures}
        show_json(report | {"optimization": [asdict(switch) for switch in optimization.switches]})
    else:
        if rows:
            show_table(
                ["converted", "audio", "took"],
                [[str(job.output), f"{audio:.1f} s", f"{elapsed:.1f} s"] for job, audio, elapsed in rows],
            )
        show_optimization(optimization)
    if failures:
        raise UltimateRVCError(f"{len(failures)} of {len(jobs)} files could not be converted.")


def plan_jobs(
    tracks: Iterable[Path], voice: str, output: Path | None, output_format: AudioFormat | None
) -> list[_Job]:
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
        return [_Job(sources[0], output)]
    from ultimate_rvc.paths import output_dir

    folder, suffix = output or output_dir(), output_format or AudioFormat.WAV
    jobs: list[_Job] = []
    taken: set[Path] = set()
    for source in sources:
        target = folder / f"{source.stem} ({voice}).{suffix}"
        number = 1
        while target in taken or target.resolve() == source.resolve():
            target = folder / f"{source.stem} ({voice}) ({number}).{suffix}"
            number += 1
        taken.add(target)
        jobs.append(_Job(source, target))
    return jobs


def _audio_files(tracks: Iterable[Path]) -> Iterable[Path]:
    for track in tracks:
        if track.is_dir():
            found = sorted(path for path in track.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
            if not found:
                raise AudioError(f"The folder {track} holds no audio files; name the files themselves.")
            yield from found
        elif track.exists():
            yield track
        else:
            raise AudioError(f"There is no file {track}; check its name.")


def _convert_file(
    pipeline: Pipeline,
    job: _Job,
    conversion: ConversionSettings,
    bitrate: int | None,
    progress: Progress,
) -> float:
    """Convert one file; returns the seconds of audio."""
    from ultimate_rvc.audio.decode import decode
    from ultimate_rvc.audio.encode import encode

    waveform, sample_rate = decode(job.source)
    converted, rate = pipeline.convert(waveform, sample_rate, conversion, progress)
    encode(job.output, converted, rate, bitrate_kbps=bitrate)
    return float(waveform.shape[-1] / sample_rate)

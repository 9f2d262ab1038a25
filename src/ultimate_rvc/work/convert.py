"""The job ``convert``: files through one voice, one after the other; a bad one does not cost the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.errors import AudioError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.voices.library import find_voice
from ultimate_rvc.work.placing import place
from ultimate_rvc.work.requests import ConvertRequest
from ultimate_rvc.work.result import ResultFile, StepTime, WorkResult
from ultimate_rvc.work.workbench import Workbench

PITCH_SHARE = 0.2  # of a conversion's time, for the progress bar only


@dataclass(frozen=True)
class _Converted:
    file: ResultFile
    audio_seconds: float
    shift_semitones: int


def convert(job: ConvertRequest, bench: Workbench) -> WorkResult:
    resolved = bench.optimization(job.optimization)
    voice = find_voice(job.voice)
    opened = bench.pipelines.opened
    with bench.step("load voice"):
        pipeline = bench.pipelines.open(
            voice.model_path,
            job.conversion,
            index_path=job.index_path or voice.index_path,
            optimization=resolved.config,
        )
    pipeline.profiler.reset()
    converted: list[_Converted] = []
    failures: list[tuple[Path, str]] = []
    with bench.step("convert"):
        for number, source in enumerate(job.sources):
            progress = _FileProgress(bench.progress, number, len(job.sources), source.name)
            try:
                converted.append(_convert_file(source, voice.name, job, pipeline, bench, progress))
            except AudioError as error:
                failures.append((source, _with_name(source, str(error))))
    if not converted:
        raise AudioError(" ".join(sentence for _, sentence in failures))
    stages = [StepTime(stage.name, stage.seconds) for stage in pipeline.profiler.report()]
    return WorkResult(
        files=tuple(each.file for each in converted),
        steps=tuple(bench.steps),
        warnings=(*voice.warnings, *(sentence for _, sentence in failures)),
        device=str(pipeline.device),
        precision=str(pipeline.precision.dtype).removeprefix("torch."),
        facts={
            "voice": voice.name,
            "was_loaded": bench.pipelines.opened > opened,
            "sample_rate": pipeline.voice.sample_rate,
            "duration_seconds": sum(each.audio_seconds for each in converted),
            "shifts_semitones": [each.shift_semitones for each in converted],
            "failed": [{"source": str(source), "error": sentence} for source, sentence in failures],
            "stages": [{"name": stage.name, "seconds": stage.seconds} for stage in stages],
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )


def _convert_file(
    source: Path, voice: str, job: ConvertRequest, pipeline: Pipeline, bench: Workbench, progress: Progress
) -> _Converted:
    waveform, sample_rate = decode(source)
    seconds = waveform.shape[-1] / sample_rate
    sung, voice_rate = pipeline.convert(waveform, sample_rate, job.conversion, progress)
    finished = bench.folder / f"converted.{job.output_format}"
    encode(finished, sung, voice_rate, bitrate_kbps=job.bitrate_kbps)
    path = place(finished, f"{source.stem} ({voice})")
    return _Converted(ResultFile("converted", path, str(source)), seconds, pipeline.shifts_semitones[0])


def _with_name(source: Path, sentence: str) -> str:
    """What is wrong with samples is told without knowing their file."""
    return sentence if source.name in sentence else f"{source.name}: {sentence}"


class _FileProgress(Progress):
    """Shows the stages of one file of several as its part of the step ``convert``."""

    def __init__(self, parent: Progress, number: int, count: int, name: str) -> None:
        super().__init__()
        self._parent, self._number, self._count = parent, number, count
        self._text = name if count == 1 else f"{number + 1}/{count} {name}"

    def report(self, step: str, fraction: float, text: str = "") -> None:
        share = PITCH_SHARE * fraction if step == "pitch" else PITCH_SHARE + (1 - PITCH_SHARE) * fraction
        self._parent.report("convert", (self._number + share) / self._count, self._text)

    def cancel(self) -> None:
        self._parent.cancel()

    def check(self) -> None:
        self._parent.check()

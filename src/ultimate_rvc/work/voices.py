"""The job ``import-voice``."""

from __future__ import annotations

from pathlib import Path

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.voices.library import (
    VoiceRef,
    import_known_voice,
    import_voice,
    import_voice_from_url,
    known_voices,
)
from ultimate_rvc.work.requests import ImportVoiceRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.workbench import Workbench


def import_(job: ImportVoiceRequest, bench: Workbench) -> WorkResult:
    with bench.step("import voice"):
        voice = _imported(job, bench)
    files = [ResultFile("voice", voice.model_path)]
    if voice.index_path is not None:
        files.append(ResultFile("index", voice.index_path))
    return WorkResult(tuple(files), tuple(bench.steps), voice.warnings, facts={"voice": voice.name})


def _imported(job: ImportVoiceRequest, bench: Workbench) -> VoiceRef:
    if is_link(job.source):
        return import_voice_from_url(
            job.source,
            job.name,
            job.index,
            sha256=job.sha256,
            allow_local=job.allow_local,
            progress=bench.progress,
        )
    if job.source in known_voices():
        return import_known_voice(job.source, job.name, progress=bench.progress)
    return import_voice(Path(job.source), job.name, job.index)

"""The job ``import-voice``."""

from __future__ import annotations

from ultimate_rvc.jobs.kinds import ImportVoiceJob
from ultimate_rvc.jobs.model import JobResult, ResultFile
from ultimate_rvc.jobs.workbench import Workbench
from ultimate_rvc.voices.library import import_voice


def import_(job: ImportVoiceJob, bench: Workbench) -> JobResult:
    with bench.step("import"):
        voice = import_voice(job.source, job.name, job.index_path)
    files = [ResultFile("voice", voice.model_path)]
    if voice.index_path is not None:
        files.append(ResultFile("index", voice.index_path))
    return JobResult(tuple(files), tuple(bench.steps), voice.warnings, facts={"voice": voice.name})

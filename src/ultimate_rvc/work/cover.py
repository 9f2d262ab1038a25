"""The job ``cover``."""

from __future__ import annotations

from dataclasses import asdict, replace

from ultimate_rvc.covers.recipe import make_cover
from ultimate_rvc.work.requests import CoverRequest
from ultimate_rvc.work.result import ResultFile, StepTime, WorkResult
from ultimate_rvc.work.workbench import Workbench


def make(job: CoverRequest, bench: Workbench) -> WorkResult:
    resolved = bench.optimization(job.optimization)
    settings = replace(job.cover, optimization=resolved.config)
    opened = bench.pipelines.opened
    cover = make_cover(job.source, job.voice, settings, bench.progress, open_pipeline=bench.pipelines.open)
    return WorkResult(
        files=(ResultFile("cover", cover.path),),
        steps=tuple(StepTime(step.name, step.seconds, step.cached, step.files) for step in cover.steps),
        warnings=cover.warnings,
        device=cover.device,
        precision=resolved.config.precision,
        facts={
            "song": cover.song,
            "voice": cover.voice,
            "was_loaded": bench.pipelines.opened > opened,
            "sample_rate": cover.sample_rate,
            "duration_seconds": cover.duration_seconds,
            "separation_model": cover.separation_model,
            "shift_semitones": cover.shift_semitones,
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )

"""The work ``cover``."""

from __future__ import annotations

from dataclasses import asdict, replace

from ultimate_rvc.covers.recipe import make_cover
from ultimate_rvc.work.requests import CoverRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.workbench import Workbench


def make(request: CoverRequest, bench: Workbench) -> WorkResult:
    resolved = bench.optimization(request.optimization)
    settings = replace(request.cover, optimization=resolved.config)
    opened = bench.pipelines.opened
    cover = make_cover(request.source, request.voice, settings, bench.progress, pipelines=bench.pipelines)
    bench.warn(*cover.warnings)
    return WorkResult(
        files=(ResultFile("cover", cover.path),),
        steps=cover.steps,
        warnings=tuple(bench.warnings),
        device=cover.device,
        precision=resolved.config.precision,
        facts={
            "song": cover.song,
            "voice": cover.voice,
            "was_loaded": bench.pipelines.opened > opened,
            "sample_rate": cover.sample_rate,
            "elapsed_seconds": cover.elapsed_seconds,
            "duration_seconds": cover.duration_seconds,
            "quality": cover.quality,
            "estimate_seconds": cover.estimate_seconds,
            "separation_model": cover.separation_model,
            "shift_semitones": cover.shift_semitones,
            "optimization": [asdict(switch) for switch in resolved.switches],
        },
    )

"""The job ``separate``."""

from __future__ import annotations

from typing import Any

from ultimate_rvc import separation
from ultimate_rvc.audio.decode import decode_stereo
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.level import peak
from ultimate_rvc.device import resolve_device
from ultimate_rvc.separation.models import SeparationTask
from ultimate_rvc.work.placing import place
from ultimate_rvc.work.requests import SeparateRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.workbench import Workbench


def separate(job: SeparateRequest, bench: Workbench) -> WorkResult:
    device = str(resolve_device(bench.optimization(job.optimization).config.device))
    take_apart, roles = {
        SeparationTask.VOCALS: (separation.separate, ("vocals", "instrumental")),
        SeparationTask.LEAD: (separation.split_lead_backing, ("lead", "backing")),
        SeparationTask.REVERB: (separation.remove_reverb, ("dry", "reverb")),
    }[job.task]
    waveform, sample_rate = decode_stereo(job.source)
    with bench.step("separate"):
        progress = bench.progress.part("separate", 0, 1)
        parts: Any = take_apart(waveform, sample_rate, model=job.model, progress=progress, device=device)
    warnings = list(parts.warnings)
    files = []
    with bench.step("write"):
        for role in roles:
            stem = getattr(parts, role)
            if (loudest := peak(stem)) > 1:
                warnings.append(f"The {role} were turned down to full scale; they peaked at {loudest:.2f}.")
                stem = stem / loudest
            finished = bench.folder / f"{role}.{job.output_format}"
            encode(finished, stem, sample_rate, bitrate_kbps=job.bitrate_kbps)
            files.append(ResultFile(role, place(finished, f"{job.source.stem} ({role})"), str(job.source)))
    return WorkResult(
        files=tuple(files),
        steps=tuple(bench.steps),
        warnings=tuple(warnings),
        device="cpu" if parts.model == separation.DSP_MODEL else device,
        precision="float32",
        facts={
            "separation_model": parts.model,
            "sample_rate": sample_rate,
            "duration_seconds": waveform.shape[-1] / sample_rate,
        },
    )

"""The work ``separate``: a file into its parts."""

from __future__ import annotations

from typing import Any

from ultimate_rvc import separation
from ultimate_rvc.audio.decode import decode_stereo
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.device import resolve_device
from ultimate_rvc.outputs import Outputs
from ultimate_rvc.paths import output_dir
from ultimate_rvc.separation.choose import check_name
from ultimate_rvc.separation.models import SeparationTask
from ultimate_rvc.work.requests import SeparateRequest, input_paths
from ultimate_rvc.work.result import WorkResult
from ultimate_rvc.work.sound import expected_bytes, write
from ultimate_rvc.work.workbench import Workbench

ROLES = {
    SeparationTask.VOCALS: ("vocals", "instrumental"),
    SeparationTask.LEAD: ("lead", "backing"),
    SeparationTask.REVERB: ("dry", "reverb"),
}


def separate(request: SeparateRequest, bench: Workbench) -> WorkResult:
    source, roles = request.source, ROLES[request.task]
    check_name(request.model, request.task, "model")
    outputs = Outputs(input_paths(request), request.overwrite)
    folder = outputs.folder(
        request.output, output_dir(), needs_bytes=expected_bytes(source, copies=len(roles))
    )
    suffix = f".{request.output_format or AudioFormat.WAV}"
    targets = [
        outputs.made(
            folder, source.stem, f" ({role})", suffix, source=source, ours=request.output is not None
        )
        for role in roles
    ]
    device = str(resolve_device(bench.optimization(request.optimization).config.devices[0]))
    take_apart = {
        SeparationTask.VOCALS: separation.separate,
        SeparationTask.LEAD: separation.split_lead_backing,
        SeparationTask.REVERB: separation.remove_reverb,
    }[request.task]
    waveform, sample_rate = decode_stereo(source)
    with bench.step("separate"):
        progress = bench.progress.part("separate", 0, 1)
        parts: Any = take_apart(waveform, sample_rate, model=request.model, progress=progress, device=device)
    bench.warn(*parts.warnings)
    files = []
    with bench.step("write"):
        for role, target in zip(roles, targets, strict=True):
            waves, kbps = getattr(parts, role), request.bitrate_kbps
            files.append(
                write(bench, waves, sample_rate, target, role=role, bitrate_kbps=kbps, source=source)
            )
    return bench.result(
        files,
        device="cpu" if parts.model == separation.DSP_MODEL else device,
        precision="float32",
        facts={
            "separation_model": parts.model,
            "sample_rate": sample_rate,
            "duration_seconds": waveform.shape[-1] / sample_rate,
        },
    )

"""The jobs ``effects`` and ``mix``: the last steps of a cover by themselves."""

from __future__ import annotations

from ultimate_rvc.audio import mix as mixing
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.effects import apply_effects
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.level import peak
from ultimate_rvc.audio.transpose import transpose
from ultimate_rvc.covers.cache import CachedFile, StepCache
from ultimate_rvc.covers.steps import Workshop, encode_mix
from ultimate_rvc.covers.wave_file import write_stem
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import cache_dir
from ultimate_rvc.work.placing import place
from ultimate_rvc.work.requests import EffectsRequest, MixRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.workbench import Workbench


def add_effects(job: EffectsRequest, bench: Workbench) -> WorkResult:
    waveform, sample_rate = decode(job.source)
    warnings = []
    with bench.step("effects"):
        wet = apply_effects(waveform, sample_rate, job.effects)
    with bench.step("write"):
        if (loudest := peak(wet)) > 1:
            warnings.append(f"The result was turned down to full scale; it peaked at {loudest:.2f}.")
            wet = wet / loudest
        finished = bench.folder / f"effects.{job.output_format}"
        encode(finished, wet, sample_rate, bitrate_kbps=job.bitrate_kbps)
        path = place(finished, f"{job.source.stem} (effects)")
    return WorkResult(
        files=(ResultFile("effects", path, str(job.source)),),
        steps=tuple(bench.steps),
        warnings=tuple(warnings),
        device="cpu",
        precision="float32",
        facts={"sample_rate": sample_rate, "duration_seconds": wet.shape[-1] / sample_rate},
    )


def mix_files(job: MixRequest, bench: Workbench) -> WorkResult:
    with bench.step("transpose"):
        tracks = _tracks(job, bench)
    with bench.step("mix"):
        mixed = mixing.mix(tracks, job.output_sr)
        stem = bench.folder / "mix.wav"
        write_stem(stem, mixed, job.output_sr)
    with bench.step("encode"):
        file = CachedFile(stem, file_hash(stem), stem.stat().st_size)
        shop = Workshop(StepCache(cache_dir()), bench.progress)
        written = encode_mix(file, job.output_format, job.bitrate_kbps, shop)
        path = place(written.path(f"cover.{job.output_format}"), job.output_name or job.sources[0].stem)
    return WorkResult(
        files=(ResultFile("cover", path),),
        steps=tuple(bench.steps),
        device="cpu",
        precision="float32",
        facts={
            "sample_rate": written.facts["sample_rate"],
            "duration_seconds": mixed.shape[-1] / job.output_sr,
        },
    )


def _tracks(job: MixRequest, bench: Workbench) -> list[mixing.Track]:
    count = len(job.sources)
    tracks = []
    for number, (source, gain_db, semitones) in enumerate(
        zip(job.sources, job.gains_db or [0.0] * count, job.semitones or [0] * count, strict=True)
    ):
        bench.progress.report("transpose", number / count, source.name)
        waveform, sample_rate = decode(source)
        if semitones:
            waveform = transpose(waveform, sample_rate, semitones)
        tracks.append(mixing.Track(waveform, sample_rate, gain_db))
    return tracks

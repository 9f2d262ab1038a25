"""The works ``effects``, ``transpose``, ``mix`` and ``wavify``: steps of a cover by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio import mix as mixing
from ultimate_rvc.audio import transpose as transposing
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.effects import apply_effects
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.covers.cache import CachedFile, open_step_cache
from ultimate_rvc.covers.steps import Workshop, encode_mix
from ultimate_rvc.covers.wave_file import write_stem
from ultimate_rvc.files import file_hash
from ultimate_rvc.outputs import Outputs, place
from ultimate_rvc.work.requests import (
    EffectsRequest,
    MixRequest,
    TransposeRequest,
    WavifyRequest,
    input_paths,
    written_format,
)
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.sound import one_target, write
from ultimate_rvc.work.workbench import Workbench

FloatArray = NDArray[np.float32]


def add_effects(request: EffectsRequest, bench: Workbench) -> WorkResult:
    return _changed(
        request, bench, "effects", " (effects)",
        lambda waveform, rate: apply_effects(waveform, rate, request.effects),
    )  # fmt: skip


def transpose(request: TransposeRequest, bench: Workbench) -> WorkResult:
    return _changed(
        request, bench, "transpose", f" ({request.semitones:+g} semitones)",
        lambda waveform, rate: transposing.transpose(waveform, rate, request.semitones),
    )  # fmt: skip


def wavify(request: WavifyRequest, bench: Workbench) -> WorkResult:
    folder = request.source.parent if request.beside else None
    return _changed(request, bench, "wavify", "", lambda waveform, _: waveform, folder)


def _changed(
    request: EffectsRequest | TransposeRequest | WavifyRequest,
    bench: Workbench,
    name: str,
    tail: str,
    change: Callable[[FloatArray, int], FloatArray],
    folder: Path | None = None,
) -> WorkResult:
    """One file, changed, in its place: the one that was asked for, else in ``folder`` with ``tail`` in its name."""
    if isinstance(request, WavifyRequest):
        suffix, bitrate_kbps = ".wav", None
    else:
        suffix, bitrate_kbps = f".{written_format(request, AudioFormat.WAV)}", request.bitrate_kbps
    target = one_target(_outputs(request), request.output, request.source, tail, suffix, folder=folder)
    waveform, sample_rate = decode(request.source)
    with bench.step(name):
        changed = change(waveform, sample_rate)
    with bench.step("write"):
        file = write(
            bench, changed, sample_rate, target,
            role=name, bitrate_kbps=bitrate_kbps, source=request.source,
        )  # fmt: skip
    return _result(bench, file, sample_rate, changed.shape[-1])


def mix_files(request: MixRequest, bench: Workbench) -> WorkResult:
    audio_format = written_format(request, AudioFormat.MP3)
    target = one_target(
        _outputs(request),
        request.output,
        request.sources[0],
        "",
        f".{audio_format}",
        stem=request.output_name,
    )
    with bench.step("transpose"):
        tracks = _tracks(request, bench)
    with bench.step("mix"):
        mixed = mixing.mix(tracks, request.output_sr)
        stem = bench.folder / "mix.wav"
        write_stem(stem, mixed, request.output_sr)
    with bench.step("encode"):
        file = CachedFile(stem, file_hash(stem), stem.stat().st_size)
        shop = Workshop(open_step_cache(), bench.progress)
        written = encode_mix(file, audio_format, request.bitrate_kbps, shop)
        placed = place(written.path(f"cover.{audio_format}"), target)
    bench.warn(*placed.warnings)
    return _result(
        bench,
        ResultFile("cover", placed.path),
        int(written.facts["sample_rate"]),
        mixed.shape[-1] * int(written.facts["sample_rate"]) // request.output_sr,
    )


def _tracks(request: MixRequest, bench: Workbench) -> list[mixing.Track]:
    count = len(request.sources)
    tracks = []
    for number, (source, gain_db, semitones) in enumerate(
        zip(request.sources, request.gains_db or [0.0] * count, request.semitones or [0] * count, strict=True)
    ):
        bench.progress.report("transpose", number / count, source.name)
        waveform, sample_rate = decode(source)
        if semitones:
            waveform = transposing.transpose(waveform, sample_rate, semitones)
        tracks.append(mixing.Track(waveform, sample_rate, gain_db))
    return tracks


def _outputs(request: EffectsRequest | TransposeRequest | WavifyRequest | MixRequest) -> Outputs:
    return Outputs(input_paths(request), request.overwrite)


def _result(bench: Workbench, file: ResultFile, sample_rate: int, samples: int) -> WorkResult:
    return bench.result(
        [file],
        device="cpu",
        precision="float32",
        facts={"sample_rate": sample_rate, "duration_seconds": samples / sample_rate},
    )

"""How sound that was made becomes a file in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.level import peak
from ultimate_rvc.outputs import Outputs, Target, place
from ultimate_rvc.paths import output_dir
from ultimate_rvc.work.result import ResultFile
from ultimate_rvc.work.workbench import Workbench

FloatArray = NDArray[np.float32]

WAV_BYTES = 4  # a sample of the widest format that is written unasked


def expected_bytes(source: Path, *, copies: int = 1) -> int:
    """About what results of a source take on disk, uncompressed; 0 where that cannot be known."""
    try:
        about = probe(source)
    except Exception:  # the work itself will say what is wrong with it
        return 0
    return round(copies * about.duration_seconds * about.sample_rate * about.channels * WAV_BYTES)


def one_target(
    outputs: Outputs, named: Path | None, source: Path, tail: str, suffix: str, *, stem: str | None = None
) -> Target:
    """Where the one result of a source goes: to the file that was named, else to the output folder."""
    needs = expected_bytes(source)
    if named is not None:
        return outputs.named_file(named, needs_bytes=needs)
    folder = outputs.folder(None, output_dir(), needs_bytes=needs)
    return outputs.made(folder, stem or source.stem, tail, suffix, source=source, ours=False)


def write(
    bench: Workbench,
    waveform: FloatArray,
    sample_rate: int,
    target: Target,
    *,
    role: str,
    bitrate_kbps: int | None = None,
    source: Path | None = None,
) -> tuple[ResultFile, tuple[str, ...]]:
    """Encode ``waveform`` ``(samples,)`` or ``(channels, samples)`` and put it in its place; what to warn of.

    Louder than full scale is turned down.
    """
    warnings: tuple[str, ...] = ()
    if (loudest := peak(waveform)) > 1:
        warnings = (f"{target.path.name} was turned down to full scale; it peaked at {loudest:.2f}.",)
        waveform = waveform / loudest
    finished = bench.folder / f"{role}{target.path.suffix.lower()}"
    encode(finished, waveform, sample_rate, bitrate_kbps=bitrate_kbps)
    placed = place(finished, target)
    finished.unlink()
    return ResultFile(role, placed.path, None if source is None else str(source)), (
        *warnings,
        *placed.warnings,
    )

"""How sound that was made becomes a file in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.level import peak
from ultimate_rvc.errors import AudioError
from ultimate_rvc.outputs import Outputs, Placed, Target, file_title, place
from ultimate_rvc.paths import output_dir
from ultimate_rvc.work.result import ResultFile
from ultimate_rvc.work.workbench import Workbench

FloatArray = NDArray[np.float32]

Put = Callable[[Path, Target], Placed]  # puts a finished file in its place

WAV_BYTES = 4  # a sample of the widest format that is written unasked


def expected_bytes(source: Path, *, copies: int = 1) -> int:
    """About what results of a source take on disk, uncompressed; 0 where that cannot be known."""
    try:
        about = probe(source)
    except Exception:  # the work itself will say what is wrong with it
        return 0
    return round(copies * about.duration_seconds * about.sample_rate * about.channels * WAV_BYTES)


def one_target(
    outputs: Outputs,
    named: Path | None,
    source: Path,
    tail: str,
    suffix: str,
    *,
    stem: str | None = None,
    folder: Path | None = None,
) -> Target:
    """Where the one result of a source goes: to the file that was named, else to ``folder`` or the output folder."""
    needs = expected_bytes(source)
    if named is not None:
        return outputs.named_file(named, needs_bytes=needs)
    place_in = outputs.folder(folder, output_dir(), needs_bytes=needs)
    return outputs.made(
        place_in, file_title(stem) if stem else source.stem, tail, suffix, source=source, ours=False
    )


def write(
    bench: Workbench,
    waveform: FloatArray,
    sample_rate: int,
    target: Target,
    *,
    role: str,
    bitrate_kbps: int | None = None,
    source: Path | None = None,
    put: Put = place,
) -> ResultFile:
    """Encode ``waveform`` ``(samples,)`` or ``(channels, samples)`` and ``put`` it in its place.

    Louder than full scale is turned down.
    """
    if (loudest := peak(waveform)) > 1:
        bench.warn(f"{target.path.name} was turned down to full scale; it peaked at {loudest:.2f}.")
        waveform = waveform / loudest
    finished = bench.folder / f"{role}{target.path.suffix.lower()}"
    try:
        encode(finished, waveform, sample_rate, bitrate_kbps=bitrate_kbps)
    except AudioError as error:  # the user knows the result, not the file that it comes from
        raise AudioError(str(error).replace(str(finished), str(target.path))) from error
    placed = put(finished, target)
    finished.unlink(missing_ok=True)  # it may have been moved
    bench.warn(*placed.warnings)
    return ResultFile(role, placed.path, None if source is None else str(source))

"""Long audio in overlapping blocks, joined by crossfades, so that memory does not grow with length."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.audio.resample import resample
from ultimate_rvc.progress import Progress

FloatArray = NDArray[np.float32]


def block_starts(total: int, block: int, overlap: int) -> Iterator[tuple[int, int]]:
    """``(start, end)`` of blocks that cover ``total`` samples; neighbours share ``overlap`` samples.

    The last block takes a remainder shorter than half a block along, so none is too short to analyse.
    """
    step = block - overlap
    start = 0
    while total - start > block + step // 2:
        yield start, start + block
        start += step
    yield start, total


def map_blocks(
    waveform: FloatArray,
    block: int,
    overlap: int,
    extract: Callable[[FloatArray, Progress], FloatArray],
    progress: Progress,
    step_name: str,
) -> FloatArray:
    """Apply ``extract`` to blocks of ``(channels, samples)`` and crossfade the results.

    ``overlap`` is the length of the linear crossfade between neighbours, in samples as ``block``. ``extract``
    keeps the shape of a block and gets a progress of its own share.
    """
    total = waveform.shape[-1]
    result = np.zeros_like(waveform)
    previous_end = 0
    for start, end in block_starts(total, block, overlap):
        part = progress.part(step_name, start / max(total, 1), end / max(total, 1))
        estimate = extract(waveform[:, start:end], part)
        shared = previous_end - start
        if shared > 0:
            fade = (np.arange(shared, dtype=np.float32) + 0.5) / shared
            result[:, start:previous_end] *= 1 - fade
            result[:, start:previous_end] += fade * estimate[:, :shared]
            result[:, previous_end:end] = estimate[:, shared:]
        else:
            result[:, start:end] = estimate
        previous_end = end
    return result


def map_blocks_at(
    working_rate: int,
    waveform: FloatArray,
    sample_rate: int,
    block_seconds: float,
    overlap_seconds: float,
    extract: Callable[[FloatArray, Progress], FloatArray],
    progress: Progress,
    step_name: str,
) -> FloatArray:
    """As :func:`map_blocks`, with ``extract`` at its own rate: ``(channels, samples)`` at ``sample_rate``."""
    audio = waveform if sample_rate == working_rate else resample(waveform, sample_rate, working_rate)
    block, overlap = round(block_seconds * working_rate), round(overlap_seconds * working_rate)
    result = map_blocks(audio, block, overlap, extract, progress, step_name)
    if sample_rate == working_rate:
        return result
    return fit_length(resample(result, working_rate, sample_rate), waveform.shape[-1])


def fit_length(waveform: FloatArray, length: int) -> FloatArray:
    """Cut ``(channels, samples)`` or pad it with silence at the end, to ``(channels, length)``."""
    missing = length - waveform.shape[-1]
    return waveform[:, :length] if missing <= 0 else np.pad(waveform, ((0, 0), (0, missing)))

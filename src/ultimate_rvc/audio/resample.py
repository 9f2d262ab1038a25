"""Changing the sample rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def resample(waveform: FloatArray, from_rate: int, to_rate: int) -> FloatArray:
    """Resample (..., samples) at soxr's very high quality to (..., round(samples * to_rate / from_rate)).

    At equal rates, in Hz, the input itself is returned; ValueError if one is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"Sample rates must be positive, not {from_rate} and {to_rate} Hz.")
    if from_rate == to_rate:
        return waveform
    length = round(waveform.shape[-1] * to_rate / from_rate)
    resampled = np.zeros((*waveform.shape[:-1], length), np.float32)
    if resampled.size == 0:
        return resampled
    # One channel at a time: soxr wants channels interleaved, which would copy all of them.
    for channel in np.ndindex(waveform.shape[:-1]):
        samples = np.ascontiguousarray(waveform[channel], np.float32)
        converted = soxr.resample(samples, from_rate, to_rate, quality="VHQ")[:length]
        resampled[channel][: len(converted)] = converted  # soxr may give one sample fewer
    return resampled


def resampled_blocks(blocks: Iterable[FloatArray], from_rate: int, to_rate: int) -> Iterator[FloatArray]:
    """Resample a sound that comes in blocks ``(channels, samples)``, at the same quality and without seams."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
    channels = 0
    for block in blocks:
        if stream is None:
            channels = len(block)
            stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="VHQ")
        yield _resampled(stream, block, last=False)
    if stream is not None:
        yield _resampled(stream, np.zeros((channels, 0), np.float32), last=True)


def _resampled(stream: soxr.ResampleStream, block: FloatArray, *, last: bool) -> FloatArray:
    frames = np.ascontiguousarray(block.T, np.float32)
    result: FloatArray = stream.resample_chunk(frames, last=last).reshape(-1, block.shape[0]).T
    return result

"""Short-time spectra at the one rate at which signal processing works, and their way back.

Written with scipy's FFT: librosa has numba compile a dozen functions at the first import, 20 s after a
fresh install. Frames come first, ``(frames, bins)``, since the FFT and all that follows run along bins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.ndimage import median_filter, uniform_filter

from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.blocks import fit_length, map_blocks_at

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

SAMPLE_RATE = 44_100
FRAME_LENGTH = 4096  # 93 ms: resolves the harmonics of a low voice (80 Hz) into separate peaks
HOPS_PER_FRAME = 4
HOP_LENGTH = FRAME_LENGTH // HOPS_PER_FRAME
BIN_HZ = SAMPLE_RATE / FRAME_LENGTH
BIN_FREQUENCIES_HZ: FloatArray = (np.arange(FRAME_LENGTH // 2 + 1) * BIN_HZ).astype(np.float32)

BLOCK_SECONDS = 40.0  # long enough for repetition to show, short enough for about 400 MB
OVERLAP_SECONDS = 2.0
SHORTEST_SECONDS = 1.0  # shorter blocks are padded with silence
TINY = np.float32(1e-12)  # below any 24-bit sound's power in a spectrum normalised to peak 1

Extractor = Callable[[FloatArray], FloatArray]


def stft(signal: FloatArray, frame_length: int = FRAME_LENGTH) -> ComplexArray:
    """Spectrum of ``(..., samples)``: ``(..., frames, bins)``.

    Hann windows of ``frame_length`` samples, a quarter of that apart, the first centred on sample 0;
    what lies before and after the signal is silence.
    """
    around = [(0, 0)] * (signal.ndim - 1) + [(frame_length // 2, frame_length // 2)]
    frames = sliding_window_view(np.pad(signal, around), frame_length, axis=-1)
    windowed = frames[..., :: frame_length // HOPS_PER_FRAME, :] * _window(frame_length)
    spectrum: ComplexArray = rfft(windowed, overwrite_x=True, workers=-1)
    return spectrum


def istft(spectrum: ComplexArray, length: int) -> FloatArray:
    """The inverse of :func:`stft`: ``(..., frames, bins)`` to ``(..., length)``, float32."""
    frame_length = 2 * (spectrum.shape[-1] - 1)
    window = _window(frame_length)
    frames = irfft(spectrum, n=frame_length, workers=-1)
    frames *= window
    heard = slice(frame_length // 2, frame_length // 2 + length)
    weight = _overlap_add(np.broadcast_to(np.square(window), frames.shape[-2:]))[heard]
    signal: FloatArray = _overlap_add(frames)[..., heard] / weight
    return signal


def _overlap_add(frames: FloatArray) -> FloatArray:
    """``(..., frames, frame_length)``, each a hop after the one before, to ``(..., samples)``."""
    *channels, count, _ = frames.shape
    hops = frames.reshape(*channels, count, HOPS_PER_FRAME, -1)
    total = np.zeros((*channels, count + HOPS_PER_FRAME - 1, hops.shape[-1]), dtype=np.float32)
    for late in range(HOPS_PER_FRAME):
        total[..., late : late + count, :] += hops[..., late, :]
    return total.reshape(*channels, -1)


@cache
def _window(frame_length: int) -> FloatArray:
    """Hann, periodic: shifted by quarters and squared it adds up to a constant."""
    window: FloatArray = np.hanning(frame_length + 1)[:-1].astype(np.float32)
    return window


def median_along_rows(rows: FloatArray, size: int) -> FloatArray:
    """Running median of ``size`` (odd) values along the last axis of a matrix, mirrored at its ends.

    As scipy's ``median_filter`` with ``size=(1, size)``, which has a ten times faster way for one
    dimension only; so the rows, with their mirrored ends, are strung together.
    """
    half = size // 2
    mirrored = np.pad(rows, ((0, 0), (half, half)), mode="symmetric")
    medians: FloatArray = median_filter(mirrored.ravel(), size=size).reshape(mirrored.shape)
    return medians[:, half:-half]


def extract_in_blocks(
    waveform: FloatArray, sample_rate: int, extract: Extractor, progress: Progress, step_name: str
) -> FloatArray:
    """Run ``extract`` on normalised blocks at 44.1 kHz and return its result at ``sample_rate``.

    ``waveform`` is ``(channels, samples)``; ``extract`` keeps the shape of what it is given.
    """

    def extract_block(block: FloatArray, part: Progress) -> FloatArray:
        estimate = _extract_normalised(block, extract)
        part.report(step_name, 1.0)
        return estimate

    return map_blocks_at(
        SAMPLE_RATE, waveform, sample_rate, BLOCK_SECONDS, OVERLAP_SECONDS, extract_block, progress, step_name
    )


def _extract_normalised(block: FloatArray, extract: Extractor) -> FloatArray:
    peak = float(np.abs(block).max())
    if peak == 0.0:
        return np.zeros_like(block)
    length = block.shape[-1]
    padded = fit_length(block / np.float32(peak), max(length, round(SHORTEST_SECONDS * SAMPLE_RATE)))
    return extract(padded)[:, :length] * np.float32(peak)


def power(spectrum: ComplexArray) -> FloatArray:
    """Squared magnitudes, any shape, float32."""
    result: FloatArray = np.square(spectrum.real) + np.square(spectrum.imag)
    return result


def centre(block: FloatArray) -> tuple[ComplexArray, FloatArray]:
    """The middle of the stereo picture: mid spectrum and the gain that keeps what is common.

    If left = centre + a and right = centre + b with centre, a and b uncorrelated, the expectation of
    Re(left * conj(right)) is the power of the centre, and equals |mid|^2 - |side|^2. Its share of
    |mid|^2 is the Wiener gain of the centre. Expectations are means over 3 x 3 neighbours.

    ``(channels, samples)`` to both ``(frames, bins)``, the gain 0 to 1; for mono it is 1.
    """
    if block.shape[0] == 1:
        mid = stft(block[0])
        return mid, np.ones(mid.shape, dtype=np.float32)
    mid = stft((block[0] + block[1]) / 2)
    side_power = uniform_filter(power(stft((block[0] - block[1]) / 2)), size=3, mode="nearest")
    mid_power = uniform_filter(power(mid), size=3, mode="nearest")
    gain: FloatArray = np.clip(1 - side_power / (mid_power + TINY), 0, 1)
    return mid, gain

"""Short-time spectra at the one rate at which signal processing works, and their way back."""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.blocks import fit_length, map_blocks_at

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

SAMPLE_RATE = 44_100
FRAME_LENGTH = 4096  # 93 ms: resolves the harmonics of a low voice (80 Hz) into separate peaks
HOP_LENGTH = FRAME_LENGTH // 4
BIN_HZ = SAMPLE_RATE / FRAME_LENGTH
BIN_FREQUENCIES_HZ: FloatArray = (np.arange(FRAME_LENGTH // 2 + 1) * BIN_HZ).astype(np.float32)

BLOCK_SECONDS = 40.0  # long enough for repetition to show, short enough for about 400 MB
OVERLAP_SECONDS = 2.0
SHORTEST_SECONDS = 1.0  # shorter blocks are padded with silence
TINY = np.float32(1e-12)  # below any 24-bit sound's power in a spectrum normalised to peak 1

Extractor = Callable[[FloatArray], FloatArray]


def stft(signal: FloatArray) -> ComplexArray:
    """Spectrum of ``(..., samples)`` at 44.1 kHz: ``(..., bins, frames)``, 93 ms windows 23 ms apart."""
    spectrum: ComplexArray = librosa.stft(signal, n_fft=FRAME_LENGTH, hop_length=HOP_LENGTH)
    return spectrum


def istft(spectrum: ComplexArray, length: int) -> FloatArray:
    """The inverse of :func:`stft`: ``(..., bins, frames)`` to ``(..., length)``, float32."""
    signal: FloatArray = librosa.istft(spectrum, n_fft=FRAME_LENGTH, hop_length=HOP_LENGTH, length=length)
    return signal.astype(np.float32, copy=False)


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

    ``(channels, samples)`` to both ``(bins, frames)``, the gain 0 to 1; for mono it is 1.
    """
    if block.shape[0] == 1:
        mid = stft(block[0])
        return mid, np.ones(mid.shape, dtype=np.float32)
    mid = stft((block[0] + block[1]) / 2)
    side_power = uniform_filter(power(stft((block[0] - block[1]) / 2)), size=3, mode="nearest")
    mid_power = uniform_filter(power(mid), size=3, mode="nearest")
    gain: FloatArray = np.clip(1 - side_power / (mid_power + TINY), 0, 1)
    return mid, gain

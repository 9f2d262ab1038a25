"""The zero-phase high-pass in front of the engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

HIGHPASS_ORDER = 5
HIGHPASS_HZ = 48  # removes DC and rumble below the f0 floor of 50 Hz
SAMPLE_RATE = 16_000
# The slowest pole decays by exp(-93 t); after 1 s nothing of float64's 53 bits is left.
SETTLING_SAMPLES = SAMPLE_RATE
BLOCK_SAMPLES = 60 * SAMPLE_RATE
DEFAULT_PADDING = 3 * (HIGHPASS_ORDER + 1)  # scipy's own: three times the coefficients
# exp(-93 t) times the largest tap, 0.06, is below 1e-10 after a quarter of a second.
TAPS = SAMPLE_RATE // 4 + 1
CONTEXT = TAPS - 1  # samples of the past that the filter still knows
FFT_SAMPLES = 16_384  # about four times the taps: few of the samples computed are thrown away
HOP = FFT_SAMPLES - CONTEXT  # new samples in each transform
FFT_BATCH = 64  # blocks transformed at once: 50 s of audio, and about 17 MB


def _padding(samples: int) -> int:
    """Samples of odd padding; filtfilt refuses signals shorter than it, but 10 ms of audio is a job too."""
    return min(DEFAULT_PADDING, samples - 1)


class ZeroPhaseFilter(Protocol):
    """The high-pass of RVC, run forwards and backwards over mono audio at 16 kHz."""

    def apply(self, waveform_16k: Tensor) -> Tensor:
        """Filter ``waveform_16k``, float32 of shape ``(samples,)`` with at least one; on its device."""
        ...


class ScipyHighpass:
    """``scipy.signal.filtfilt`` in float64; block by block, so that memory does not grow.

    Inner block borders see a second of the neighbouring audio, after which the filter has forgotten
    everything; the ends of the file are scipy's own (odd padding).
    """

    def __init__(self) -> None:
        self._b, self._a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)

    def apply(self, waveform_16k: Tensor) -> Tensor:
        filtered = self._filter_in_blocks(waveform_16k.cpu().numpy())
        return torch.from_numpy(filtered).to(waveform_16k.device)

    def _filter_in_blocks(self, waveform_16k: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = len(waveform_16k)
        filtered = np.empty(samples, np.float32)
        for start in range(0, samples, BLOCK_SAMPLES):
            end = min(start + BLOCK_SAMPLES, samples)
            low, high = max(start - SETTLING_SAMPLES, 0), min(end + SETTLING_SAMPLES, samples)
            block = self._filter(waveform_16k[low:high].astype(np.float64))
            filtered[start:end] = block[start - low : end - low]
        return filtered

    def _filter(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        return scipy.signal.filtfilt(  # type: ignore[no-any-return]
            self._b, self._a, block, padlen=_padding(len(block))
        )


class TorchHighpass:
    """The same filter in float32 on the device of the signal, within 1e-5 of scipy's.

    A high-pass forgets: its impulse response is cut where it is below float32, and each direction becomes
    a convolution by FFT in blocks (overlap-save). Nothing is fed back, so rounding does not grow, as it
    would in a float32 recursion with poles this close to the unit circle.

    ``filtfilt`` starts each direction in the steady state of its first sample. A high-pass answers a
    constant with 0, so that start is the same as subtracting the first sample and starting from rest.

    Both directions work in place: a recording is held twice, as it came and filtered.
    """

    def __init__(self, device: torch.device) -> None:
        b, a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)
        impulse = np.zeros(TAPS)
        impulse[0] = 1.0
        # Transformed in float64 on the host: MPS has none.
        response = np.fft.rfft(scipy.signal.lfilter(b, a, impulse), FFT_SAMPLES).astype(np.complex64)
        self._response = torch.from_numpy(response).to(device)
        self._reversed_response = torch.from_numpy(response.conj()).to(device)

    def apply(self, waveform_16k: Tensor) -> Tensor:
        samples = len(waveform_16k)
        padding = _padding(samples)
        length = samples + 2 * padding
        # Silence on either side, and whole blocks.
        signal = waveform_16k.new_zeros(CONTEXT + length + -length % HOP + CONTEXT)
        extended = signal[CONTEXT : CONTEXT + length]
        _extend_oddly(waveform_16k, padding, out=extended)
        extended -= extended[0].clone()
        self._filter_forwards(signal)
        extended -= extended[-1].clone()
        signal[CONTEXT + length :] = 0  # the filter rang on
        self._filter_backwards(signal)
        return extended[padding : padding + samples]

    def _filter_forwards(self, signal: Tensor) -> None:
        """In place, last blocks first: those before are still what they were when their turn comes."""
        blocks = signal.unfold(0, FFT_SAMPLES, HOP)
        for start in reversed(range(0, len(blocks), FFT_BATCH)):
            # The first samples of a transform are wrapped around, and belong to the block before.
            answer = _convolved(blocks[start : start + FFT_BATCH], self._response)[:, CONTEXT:]
            begin = start * HOP + CONTEXT
            signal[begin : begin + answer.numel()] = answer.reshape(-1)

    def _filter_backwards(self, signal: Tensor) -> None:
        """The same with time reversed, which is the conjugate in frequency."""
        blocks = signal[CONTEXT:].unfold(0, FFT_SAMPLES, HOP)
        for start in range(0, len(blocks), FFT_BATCH):
            answer = _convolved(blocks[start : start + FFT_BATCH], self._reversed_response)[:, :HOP]
            begin = start * HOP + CONTEXT
            signal[begin : begin + answer.numel()] = answer.reshape(-1)


def _convolved(blocks: Tensor, response: Tensor) -> Tensor:
    answer: Tensor = torch.fft.irfft(torch.fft.rfft(blocks).mul_(response), FFT_SAMPLES)
    return answer


def _extend_oddly(signal: Tensor, padding: int, *, out: Tensor) -> None:
    """``signal`` turned by half a turn around both of its ends, ``padding`` samples each."""
    samples = len(signal)
    out[:padding] = 2 * signal[0] - signal[1 : padding + 1].flip(0)
    out[padding : padding + samples] = signal
    out[padding + samples :] = 2 * signal[-1] - signal[samples - 1 - padding : -1].flip(0)

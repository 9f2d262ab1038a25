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
FFT_SAMPLES = 16_384  # about four times the taps: few of the samples computed are thrown away
FFT_BATCH = 256  # blocks transformed at once: bounds the memory to about 70 MB


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
    """

    def __init__(self, device: torch.device) -> None:
        b, a = scipy.signal.butter(HIGHPASS_ORDER, HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE)
        impulse = np.zeros(TAPS)
        impulse[0] = 1.0
        # Transformed in float64 on the host: MPS has none.
        response = np.fft.rfft(scipy.signal.lfilter(b, a, impulse), FFT_SAMPLES)
        self._response = torch.from_numpy(response.astype(np.complex64)).to(device)

    def apply(self, waveform_16k: Tensor) -> Tensor:
        padding = _padding(len(waveform_16k))
        extended = _extend_oddly(waveform_16k, padding)
        forward = self._from_rest(extended - extended[0])
        backward = self._from_rest((forward - forward[-1]).flip(0)).flip(0)
        return backward[padding : padding + len(waveform_16k)]

    def _from_rest(self, signal: Tensor) -> Tensor:
        """The filter's answer to ``signal``, as long as it, with silence before it."""
        hop = FFT_SAMPLES - (TAPS - 1)
        blocks = -(-len(signal) // hop)
        framed = torch.nn.functional.pad(signal, (TAPS - 1, blocks * hop - len(signal)))
        framed = framed.unfold(0, FFT_SAMPLES, hop)
        answer = signal.new_empty(blocks, hop)
        for start in range(0, blocks, FFT_BATCH):
            spectrum = torch.fft.rfft(framed[start : start + FFT_BATCH]) * self._response
            # The first TAPS - 1 samples of a block are wrapped around, and belong to the one before.
            answer[start : start + FFT_BATCH] = torch.fft.irfft(spectrum, FFT_SAMPLES)[:, TAPS - 1 :]
        return answer.reshape(-1)[: len(signal)]


def _extend_oddly(signal: Tensor, padding: int) -> Tensor:
    """``signal`` turned by half a turn around both of its ends, ``padding`` samples each."""
    left = 2 * signal[0] - signal[1 : padding + 1].flip(0)
    right = 2 * signal[-1] - signal[len(signal) - 1 - padding : -1].flip(0)
    return torch.cat([left, signal, right])

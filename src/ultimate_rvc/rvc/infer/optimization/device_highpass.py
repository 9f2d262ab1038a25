"""The zero-phase high-pass in torch, on the device of the signal."""

from __future__ import annotations

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from ultimate_rvc.rvc.infer.highpass import HIGHPASS_HZ, HIGHPASS_ORDER, SAMPLE_RATE, odd_padding

# exp(-93 t) times the largest tap, 0.06, is below 1e-10 after a quarter of a second.
TAPS = SAMPLE_RATE // 4 + 1
CONTEXT = TAPS - 1  # samples of the past that the filter still knows
FFT_SAMPLES = 16_384  # about four times the taps: few of the samples computed are thrown away
HOP = FFT_SAMPLES - CONTEXT  # new samples in each transform
FFT_BATCH = 64  # blocks transformed at once: 50 s of audio, and about 17 MB


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
        """Filter float32 ``(samples,)`` at 16 kHz, at least one sample, on its device."""
        samples = len(waveform_16k)
        padding = odd_padding(samples)
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

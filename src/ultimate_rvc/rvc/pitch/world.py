"""Harvest and DIO, the pitch methods of the WORLD vocoder: signal processing, no network, CPU only."""

from __future__ import annotations

import numpy as np
import pyworld
import torch
from numpy.typing import NDArray
from scipy.signal import medfilt
from torch import Tensor

from ultimate_rvc.rvc.pitch.method import (
    F0_MAX_HZ,
    F0_MIN_HZ,
    HOP_LENGTH,
    SAMPLE_RATE,
    frame_count,
    within_range,
)

FRAME_PERIOD_MS = 1000 * HOP_LENGTH / SAMPLE_RATE
MEDIAN_FRAMES = 3  # removes single frames of a wrong octave from harvest's result
SHORTEST_SAMPLES = SAMPLE_RATE // 10  # WORLD's filters want some periods of the lowest f0 to work on


class Harvest:
    """Harvest (Morise 2017), smoothed by a median over three frames."""

    name = "harvest"
    context_seconds = 1.28

    def for_recording(self, waveform_16k: Tensor) -> Harvest:
        return self

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        samples = _as_doubles(waveform_16k)
        f0_hz, _ = pyworld.harvest(samples, SAMPLE_RATE, F0_MIN_HZ, F0_MAX_HZ, FRAME_PERIOD_MS)
        return _as_frames(medfilt(f0_hz, MEDIAN_FRAMES), waveform_16k)


class Dio:
    """DIO (Morise et al. 2009), refined by StoneMask."""

    name = "dio"
    context_seconds = 1.28

    def for_recording(self, waveform_16k: Tensor) -> Dio:
        return self

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        samples = _as_doubles(waveform_16k)
        coarse_hz, seconds = pyworld.dio(
            samples, SAMPLE_RATE, F0_MIN_HZ, F0_MAX_HZ, frame_period=FRAME_PERIOD_MS
        )
        return _as_frames(pyworld.stonemask(samples, coarse_hz, seconds, SAMPLE_RATE), waveform_16k)


def _as_doubles(waveform_16k: Tensor) -> NDArray[np.float64]:
    samples = waveform_16k.detach().cpu().double().numpy()
    # Harvest halves the rate, keeping the even samples of an odd number and the odd ones of an even number:
    # one sample more would change one frame of ten. Always even, pieces agree with the whole.
    length = max(SHORTEST_SAMPLES, samples.shape[0] + samples.shape[0] % 2)
    return np.pad(samples, (0, length - samples.shape[0]))


def _as_frames(f0_hz: NDArray[np.float64], waveform_16k: Tensor) -> Tensor:
    frames = torch.from_numpy(f0_hz[: frame_count(waveform_16k.shape[0])])
    return within_range(frames).to(waveform_16k.device)

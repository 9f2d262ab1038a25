"""f0 that is known to the nearest bin of a network, made exact by the phase of its harmonics.

A pitch network sees a window of 64 ms whatever the pitch, and smooths what moves inside it. The instantaneous
frequency of the first harmonics, in a window of three periods, follows the voice itself. This is StoneMask of
the WORLD vocoder (Morise et al., 2016), after Flanagan's phase vocoder (1966), for all frames at once and on
any device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ultimate_rvc.rvc.pitch.method import F0_MIN_HZ, HOP_LENGTH, SAMPLE_RATE

PERIODS = 3  # in a window
FIRST_HARMONICS, ALL_HARMONICS = 2, 6  # those that are weak mislead, so the first ones find the others
MOST_CHANGE = 0.2  # of f0: what moves further has found something else, and the network's word counts
FAINT_POWER = 1e-8  # -80 dB, below which a window holds what a filter rings on with, and no voice
FRAMES_AT_ONCE = 512
HALF_WINDOW = int(PERIODS / 2 * SAMPLE_RATE / F0_MIN_HZ) + 1


def refined(f0_hz: Tensor, waveform_16k: Tensor) -> Tensor:
    """The f0 near ``f0_hz`` ``(frames,)`` at which the harmonics of ``waveform_16k`` ``(samples,)`` turn.

    Frame i is centred on sample ``160 * i``; 0 where unvoiced, else 50 to 1100 Hz. Unvoiced and inaudible frames
    stay as they are; others change by at most a fifth.
    """
    padded = F.pad(waveform_16k.float(), (HALF_WINDOW, HALF_WINDOW + HOP_LENGTH))
    windows = padded.unfold(0, 2 * HALF_WINDOW + 1, HOP_LENGTH)[: len(f0_hz)]
    parts = zip(torch.split(windows, FRAMES_AT_ONCE), torch.split(f0_hz.float(), FRAMES_AT_ONCE), strict=True)
    exact = [_refined_in(part_windows, part_hz) for part_windows, part_hz in parts]
    return torch.cat(exact)


def _refined_in(windows: Tensor, f0_hz: Tensor) -> Tensor:
    """As :func:`refined`, for the samples ``(frames, 2 * HALF_WINDOW + 1)`` around each frame."""
    voiced = f0_hz > 0
    initial = torch.where(voiced, f0_hz, F0_MIN_HZ)[:, None]
    seconds = torch.arange(-HALF_WINDOW, HALF_WINDOW + 1, device=windows.device) / SAMPLE_RATE
    half = PERIODS / 2 / initial
    # Blackman's window over three periods, and its slope.
    phase = math.pi * seconds / half
    inside = (seconds.abs() <= half).float()
    weighted = windows * inside * (0.42 + 0.5 * torch.cos(phase) + 0.08 * torch.cos(2 * phase))
    sloped = windows * inside * (math.pi / half) * (-0.5 * torch.sin(phase) - 0.16 * torch.sin(2 * phase))
    tentative = _mean_f0(weighted, sloped, seconds, initial, FIRST_HARMONICS)
    found = _mean_f0(weighted, sloped, seconds, tentative, ALL_HARMONICS)
    near = (found - initial).abs() <= MOST_CHANGE * initial  # False for what is no number
    audible = weighted.square().sum(dim=1) > FAINT_POWER * inside.sum(dim=1)
    return torch.where(voiced & audible & near[:, 0], found[:, 0], f0_hz)


def _mean_f0(weighted: Tensor, sloped: Tensor, seconds: Tensor, f0_hz: Tensor, harmonics: int) -> Tensor:
    """f0 ``(frames, 1)`` by how fast the harmonics of ``f0_hz`` turn; the loud ones count most."""
    angle = 2 * math.pi * f0_hz * seconds
    turning, weight = torch.zeros_like(f0_hz), torch.zeros_like(f0_hz)
    for harmonic in range(1, harmonics + 1):
        cosine, sine = torch.cos(harmonic * angle), torch.sin(harmonic * angle)
        real, imaginary = _sums(weighted, cosine), -_sums(weighted, sine)
        slope_real, slope_imaginary = _sums(sloped, cosine), -_sums(sloped, sine)
        power = real.square() + imaginary.square()
        turned = (slope_real * imaginary - slope_imaginary * real) / power
        frequency = harmonic * f0_hz + turned / (2 * math.pi)
        amplitude = torch.where(power > 0, power.sqrt(), 0.0)
        turning += torch.where(power > 0, amplitude * frequency, 0.0)
        weight += harmonic * amplitude
    return turning / weight


def _sums(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=1, keepdim=True)

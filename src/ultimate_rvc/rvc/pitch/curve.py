"""What happens to an f0 curve between its extraction and the synthesizer."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ultimate_rvc.rvc.pitch.method import F0_MAX_HZ, F0_MIN_HZ

COARSE_STEPS = 255  # rows of a voice's pitch embedding in use: 1 (also unvoiced) to 255
A4_HZ = 440.0
MAX_PROPOSED_SEMITONES = 12


def _mel(f0_hz: float) -> float:
    return 1127.0 * math.log(1.0 + f0_hz / 700.0)


LOWEST_MEL, HIGHEST_MEL = _mel(F0_MIN_HZ), _mel(F0_MAX_HZ)


def coarse_pitch(f0_hz: Tensor) -> Tensor:
    """The steps of the mel scale by which voices know pitch; f0 in Hz of any shape, 0 where unvoiced.

    int64: 1 up to 50 Hz and where unvoiced, 255 from 1100 Hz upwards, evenly spaced on the mel scale between.
    """
    mel = 1127.0 * torch.log1p(f0_hz.float() / 700.0)
    steps = (mel - LOWEST_MEL) * ((COARSE_STEPS - 1) / (HIGHEST_MEL - LOWEST_MEL)) + 1
    return steps.clamp(1, COARSE_STEPS).round().long()


def transpose_f0(f0_hz: Tensor, semitones: float) -> Tensor:
    """The curve in Hz, any shape, shifted by so many semitones; unvoiced frames stay 0."""
    ratio: float = 2.0 ** (semitones / 12.0)
    return f0_hz * ratio


def autotune(f0_hz: Tensor, strength: float = 1.0, semitones: float = 0.0) -> Tensor:
    """The curve in Hz, any shape, transposed and then drawn to the nearest semitone of A4 = 440 Hz.

    ``strength`` says how far each frame moves on the logarithmic scale: 0 not at all, 1 onto the note. Unvoiced
    frames stay 0.
    """
    transposed_hz = transpose_f0(f0_hz, semitones)
    voiced = transposed_hz > 0
    semitones_above_a4 = 12.0 * torch.log2(torch.where(voiced, transposed_hz, A4_HZ) / A4_HZ)
    correction = strength * (semitones_above_a4.round() - semitones_above_a4)
    return torch.where(voiced, transposed_hz * torch.exp2(correction / 12.0), torch.zeros_like(transposed_hz))


def proposed_shift(f0_hz: Tensor, threshold_hz: float) -> int:
    """Whole semitones, at most an octave, that bring the median voiced f0 closest to ``threshold_hz``.

    ``f0_hz`` is of any shape, 0 where unvoiced; 0 when no frame is voiced.
    """
    voiced_hz = f0_hz[f0_hz > 0].cpu().double()
    if voiced_hz.numel() == 0:
        return 0
    median_hz = float(np.median(voiced_hz.numpy()))
    semitones = round(12.0 * math.log2(threshold_hz / median_hz))
    return max(-MAX_PROPOSED_SEMITONES, min(MAX_PROPOSED_SEMITONES, semitones))

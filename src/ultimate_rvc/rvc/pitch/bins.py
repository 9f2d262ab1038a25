"""Pitch from a row of 360 bins of about 20 cents, as RMVPE, FCPE and CREPE give it for each frame.

The weighted average around the peak is that of CREPE (Kim et al., 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ultimate_rvc.rvc.pitch.method import within_range

PITCH_BINS = 360
NEIGHBOURS = 4  # bins at each side of the peak that take part in its average
REFERENCE_HZ = 10.0  # 0 cents


@dataclass(frozen=True)
class BinScale:
    """Pitches of the bins, in cents above 10 Hz."""

    lowest_cents: float
    cents_per_bin: float

    def hz(self, bins: Tensor) -> Tensor:
        """The frequency in Hz of bins, fractional ones too; any shape."""
        return REFERENCE_HZ * torch.exp2((self.lowest_cents + self.cents_per_bin * bins) / 1200.0)

    def bin_of(self, f0_hz: float) -> float:
        """The fractional bin of a frequency."""
        return (1200.0 * math.log2(f0_hz / REFERENCE_HZ) - self.lowest_cents) / self.cents_per_bin

    def highest_peak_hz(self, salience: Tensor, threshold: float) -> Tensor:
        """f0 ``(frames,)`` at the highest bin of each frame of ``(frames, 360)``; 0 up to the threshold."""
        highest, peak_bins = salience.max(dim=1)
        return within_range(self.hz(refined_peak(salience, peak_bins)) * (highest > threshold))


CREPE_SCALE = BinScale(1997.3794084376191, 20.0)  # from 31.7 Hz; RMVPE has the same bins


def refined_peak(salience: Tensor, peak_bins: Tensor) -> Tensor:
    """The pitch around the bins ``(frames,)`` as fractional bins: averages of up to nine, weighted by salience.

    ``salience`` is ``(frames, 360)``, 0 to 1; a frame without any around its peak gives the peak itself.
    """
    offsets = torch.arange(-NEIGHBOURS, NEIGHBOURS + 1, device=salience.device)
    bins = peak_bins[:, None] + offsets
    inside = (bins >= 0) & (bins < PITCH_BINS)
    weights = salience.gather(1, bins.clamp(0, PITCH_BINS - 1)) * inside
    return peak_bins + (weights * offsets).sum(1) / weights.sum(1).clamp(min=torch.finfo(weights.dtype).tiny)

"""Runs of frames cut out of a batch: training renders and judges only a short piece of each item."""

from __future__ import annotations

import torch
from torch import Tensor

from ultimate_rvc.rvc.networks.noise import BatchDraws, Noise


def draw_starts(
    lengths: Tensor, segment_frames: int, generator: torch.Generator | BatchDraws | None
) -> Tensor:
    """Draw where each item's segment starts, uniformly over all places inside the item: int64, (batch,).

    ``lengths`` (batch,) are the frames of each item; one shorter than the segment starts at 0, and its segment
    ends in padding. One number per item is drawn, on the generator's own device.
    """
    places = (lengths - segment_frames + 1).clamp_min(1).float()
    uniform = Noise(1.0, generator).phases((len(lengths),), places)
    assert uniform is not None  # None only without strength
    return (uniform * places).long()


def slice_segments(signal: Tensor, starts: Tensor, length: int) -> Tensor:
    """Cut ``length`` steps from each item of signal (batch, ..., time), from ``starts`` (batch,) on.

    For a waveform give starts and length in samples: frames times the hop.
    """
    steps = starts[:, None] + torch.arange(length, device=starts.device)
    steps = steps.reshape(len(starts), *[1] * (signal.dim() - 2), length)
    return signal.gather(-1, steps.expand(*signal.shape[:-1], length))

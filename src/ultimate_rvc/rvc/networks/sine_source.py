"""The harmonic source: sines that follow f0, and the noise that stands in where there is no pitch.

Phases are in cycles. A song is millions of samples long, so a plain float32 running sum would
drift audibly; here the phase is accumulated once per frame, exactly and modulo one cycle, and only
the few cycles inside a frame are left to float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.noise import Noise

SINE_AMPLITUDE = 0.1
VOICED_NOISE_DEVIATION = 0.003
UNVOICED_NOISE_DEVIATION = SINE_AMPLITUDE / 3
FRAMES_PER_BLOCK = 64  # keeps float32 sums of wrapped phases below 32, where they resolve 2e-6 cycles


class SineSource(nn.Module):
    """Sines at f0 and its multiples, f0 held over each frame, merged to one signal by ``l_linear``."""

    def __init__(self, sample_rate: int, hop_length: int, *, harmonics: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self.harmonics = harmonics
        self.l_linear = nn.Linear(harmonics, 1)

    def forward(self, f0_hz: Tensor, noise: Noise) -> Tensor:
        """Return the source (batch, 1, frames * hop_length) for f0_hz (batch, frames), 0 = unvoiced."""
        phase = held_phase(f0_hz, self.hop_length, self.sample_rate)
        voiced = (f0_hz > 0).repeat_interleave(self.hop_length, dim=1)
        sines = noisy_sines(phase, voiced, self.harmonics, noise)
        return torch.tanh(self.l_linear(sines.to(self.l_linear.weight.dtype))).transpose(1, 2)


def noisy_sines(phase: Tensor, voiced: Tensor, harmonics: int, noise: Noise) -> Tensor:
    """Return sines at multiples 1..harmonics of ``phase`` with noise, silent where unvoiced.

    Parameters
    ----------
    phase : Tensor (batch, samples)
        Phase of the fundamental in cycles.
    voiced : bool Tensor (batch, samples)
    harmonics : int
        Number of sines; those above the first start at random phases.
    noise : Noise
        Added to every sine: weak where voiced, a third of the sine's amplitude where not.

    Returns
    -------
    Tensor (batch, samples, harmonics)
    """
    multiples = torch.arange(1, harmonics + 1, device=phase.device)
    phases = phase[..., None] * multiples
    if harmonics > 1:
        offsets = noise.phases((phase.shape[0], 1, harmonics - 1), phase)
        if offsets is not None:
            phases[..., 1:] += offsets
    sines = torch.sin(2 * math.pi * wrapped(phases)) * SINE_AMPLITUDE * voiced[..., None]
    breath = noise.normal(tuple(sines.shape), sines, time_dim=1)
    if breath is None:
        return sines
    deviation = torch.where(voiced, VOICED_NOISE_DEVIATION, UNVOICED_NOISE_DEVIATION)
    return sines + deviation[..., None] * breath


def held_phase(f0_hz: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return the phase at every sample, (batch, frames * hop_length), with f0 (batch, frames) held per frame.

    Sample n has the sum of f0/sample_rate over samples 0..n, modulo 1 at each frame's start.
    """
    steps = torch.arange(1, hop_length + 1, device=f0_hz.device, dtype=f0_hz.dtype)
    inside = f0_hz[..., None] * (steps / sample_rate)
    if f0_hz.device.type == "mps":  # has no float64
        starts = running_cycles_float32(_held_cycles_float32(f0_hz, hop_length, sample_rate))
    else:
        starts = running_cycles(f0_hz.double() * hop_length / sample_rate)
    return (starts[..., None] + inside).flatten(1)


def gliding_phase(f0_hz: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return the phase at every sample for f0 in Hz at every sample, both (batch, frames * hop_length)."""
    per_frame = f0_hz.reshape(f0_hz.shape[0], -1, hop_length)
    inside = (per_frame / sample_rate).cumsum(dim=2)
    if f0_hz.device.type == "mps":  # has no float64
        starts = running_cycles_float32(wrapped(inside[..., -1]))
    else:
        starts = running_cycles(per_frame.double().sum(dim=2) / sample_rate)
    return (starts[..., None] + inside).flatten(1)


def running_cycles(cycles: Tensor) -> Tensor:
    """Return the phase at which each frame starts: the wrapped sum of all frames before it.

    ``cycles`` (batch, frames) float64 to the same shape in float32.
    """
    return wrapped(cycles.cumsum(dim=1) - cycles).float()


def running_cycles_float32(cycles: Tensor) -> Tensor:
    """Return the same in float32 alone: summed in blocks whose totals are wrapped before they are summed.

    ``cycles`` (batch, frames) must be wrapped already.
    """
    frames = cycles.shape[1]
    blocks = F.pad(cycles, (0, -frames % FRAMES_PER_BLOCK)).reshape(cycles.shape[0], -1, FRAMES_PER_BLOCK)
    sums = blocks.cumsum(dim=2)
    totals = wrapped(sums[..., -1])
    block_starts = wrapped(totals.cumsum(dim=1) - totals)
    return wrapped(block_starts[..., None] + sums - blocks).flatten(1)[:, :frames]


def wrapped(cycles: Tensor) -> Tensor:
    """Return the phase within [-0.5, 0.5] cycles, any shape."""
    return cycles - torch.round(cycles)


def _held_cycles_float32(f0_hz: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return f0 * hop / sample_rate, wrapped, without the rounding that a plain float32 product has.

    f0 is split in eighths of a Hz and a rest: eighths times the hop are exact (14 + 10 bits), so
    is their remainder modulo the sample rate, and the rest is too small to matter.
    """
    eighths = torch.round(f0_hz * 8) / 8
    whole = torch.fmod(eighths * hop_length, sample_rate) / sample_rate
    return wrapped(whole + (f0_hz - eighths) * (hop_length / sample_rate))

"""What every pitch method is: 16 kHz samples in, f0 in Hz out, one value per 10 ms."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

SAMPLE_RATE = 16_000
HOP_LENGTH = 160  # samples between frames: 10 ms
F0_MIN_HZ = 50.0  # the range that RVC voices are trained for
F0_MAX_HZ = 1100.0


class PitchMethod(Protocol):
    """A way to find the fundamental frequency of one voice."""

    @property
    def name(self) -> str:
        """The word by which a user chooses it."""

    @property
    def context_seconds(self) -> float:
        """Audio that a piece of a recording needs on each side to give the f0 of the whole.

        Found by measuring; see docs/pitch.md.
        """

    def for_recording(self, waveform_16k: Tensor) -> PitchMethod:
        """The method, tied to what it must know of a whole recording before it sees pieces of it.

        ``waveform_16k`` is all of the recording, ``(samples,)``. Methods that look at nothing but the frames
        around the one in question return themselves.
        """

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        """The f0 of ``waveform_16k``, in one go.

        Parameters
        ----------
        waveform_16k
            Mono audio at 16 kHz in [-1, 1], shape ``(samples,)``, on any device.

        Returns
        -------
        Tensor
            Shape ``(samples // 160 + 1,)``, float32, Hz, on the device of ``waveform_16k``. Frame i is
            centred on sample ``160 * i``; 0 means unvoiced, other values are 50 to 1100.
        """


def frame_count(samples: int) -> int:
    """Frames of f0 that belong to so many samples at 16 kHz."""
    return samples // HOP_LENGTH + 1


def within_range(f0_hz: Tensor) -> Tensor:
    """Voiced frames limited to 50..1100 Hz, any shape; 0 and everything that is no number become 0."""
    f0_hz = torch.nan_to_num(f0_hz.float(), nan=0.0, posinf=0.0, neginf=0.0)
    return torch.where(f0_hz > 0, f0_hz.clamp(F0_MIN_HZ, F0_MAX_HZ), torch.zeros_like(f0_hz))

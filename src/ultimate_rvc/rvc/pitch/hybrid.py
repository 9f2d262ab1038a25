"""Several pitch methods at once: the median of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ultimate_rvc.rvc.pitch.method import PitchMethod

SAME_NOTE_RATIO = 2 ** (1 / 12)  # further apart than a semitone, two methods mean different notes


class MedianPitch:
    """The median over those methods that call a frame voiced, if at least half of them do.

    With an even number, the two in the middle are averaged only where they are within a semitone of each
    other. Otherwise (an octave error of one of them) the mean would be a note that nobody heard, and the
    one whose method was named first is taken.
    """

    def __init__(self, methods: Sequence[PitchMethod]) -> None:
        self.methods = tuple(methods)
        self.name = "+".join(method.name for method in self.methods)
        self.context_seconds = max(method.context_seconds for method in self.methods)

    def for_recording(self, waveform_16k: Tensor) -> MedianPitch:
        return MedianPitch([method.for_recording(waveform_16k) for method in self.methods])

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        return median_f0(torch.stack([method.f0_hz(waveform_16k) for method in self.methods]))


def median_f0(candidates_hz: Tensor) -> Tensor:
    """``(methods, frames)`` in Hz, 0 where unvoiced, to ``(frames,)``; see :class:`MedianPitch`."""
    voiced = (candidates_hz > 0).sum(dim=0)
    ordered_hz, method = torch.where(candidates_hz > 0, candidates_hz, torch.inf).sort(dim=0, stable=True)
    low, high = ((voiced - 1) // 2).clamp(min=0)[None], (voiced // 2)[None]
    low_hz, high_hz = ordered_hz.gather(0, low)[0], ordered_hz.gather(0, high)[0]
    first_named_hz = torch.where(method.gather(0, low)[0] <= method.gather(0, high)[0], low_hz, high_hz)
    same_note = high_hz <= low_hz * SAME_NOTE_RATIO
    median_hz = torch.where(same_note, (low_hz + high_hz) / 2, first_named_hz)
    return torch.where(2 * voiced >= len(candidates_hz), median_hz, 0.0)

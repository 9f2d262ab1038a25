"""The frames every content encoder gives: HuBERT's, 50 per second."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

FRAME_SAMPLES = 320
RECEPTIVE_SAMPLES = 400  # the first frame needs this many


def frame_count(samples: int) -> int:
    """Frames of so many samples at 16 kHz; none below 400."""
    return max(0, (samples - (RECEPTIVE_SAMPLES - FRAME_SAMPLES)) // FRAME_SAMPLES)


def padded_lengths(waveform_16k: Tensor, lengths: Sequence[int] | None) -> tuple[int, ...] | None:
    """``lengths`` of the items of ``waveform_16k`` ``(batch, samples)``; None when none of them is padded.

    Raises
    ------
    ValueError
        There are not as many as items, or one lies outside 0 to ``samples``.
    """
    if lengths is None:
        return None
    batch, samples = waveform_16k.shape
    if len(lengths) != batch or not all(0 <= length <= samples for length in lengths):
        raise ValueError(f"lengths must be {batch} numbers from 0 to {samples}, not {list(lengths)}")
    return None if min(lengths) == samples else tuple(lengths)

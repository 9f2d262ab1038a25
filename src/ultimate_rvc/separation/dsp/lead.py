"""Lead vocals out of stereo vocals: the lead is usually in the middle, backing voices around it."""

from __future__ import annotations

import numpy as np

from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.dsp.spectrum import FloatArray, centre, extract_in_blocks, istft

STEP_NAME = "split lead and backing"


def extract_lead(vocals: FloatArray, sample_rate: int, progress: Progress) -> FloatArray:
    """The centre of stereo vocals, ``(2, samples)`` in and out, the same in both channels."""
    return extract_in_blocks(vocals, sample_rate, _centre_of_block, progress, STEP_NAME)


def _centre_of_block(block: FloatArray) -> FloatArray:
    mid, gain = centre(block)
    return np.broadcast_to(istft(mid * gain, block.shape[-1]), block.shape).copy()
